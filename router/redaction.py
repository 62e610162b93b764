"""Personal data that can be told by its form, taken out of texts.

Names and addresses have no form: they stay, and whoever learns from conversations must look.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_URL_LOGIN = re.compile(r"(?<=://)[^\s/@:]{1,256}:[^\s/@]{1,256}(?=@)")
_SECRET = re.compile(
    r"\b(?:sk|pk|rk|ghp|gho|xox[abp]|hf|myr)[-_][\w-]{16,}|\bAKIA[0-9A-Z]{16}\b"
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[0-9A-Z]{4}){2,7}(?: ?[0-9A-Z]{1,4})?\b")
_CARD = re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])")
_SSN = re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])")
_IP = re.compile(
    r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])"
)
_PHONE = re.compile(r"(?<![\w+])(?:\+|00)?\(?\d(?:[ ()./-]{0,3}\d){6,14}(?!\w)")


def _whatever(_text: str) -> bool:
    return True


def _is_card(text: str) -> bool:
    """By its last digit (Luhn, ISO/IEC 7812-1)."""
    digits = [int(sign) for sign in text if sign.isdigit()][::-1]
    twice = (sum(divmod(2 * digit, 10)) for digit in digits[1::2])
    return (sum(digits[::2]) + sum(twice)) % 10 == 0


def _is_iban(text: str) -> bool:
    """By its two digits (ISO 7064, MOD 97-10)."""
    plain = text.replace(" ", "")
    turned = plain[4:] + plain[:4]
    return int("".join(str(int(sign, 36)) for sign in turned)) % 97 == 1


def _is_phone(text: str) -> bool:
    """Long numbers alone, dates and prices are none: it begins as one, or is written in groups."""
    if re.fullmatch(r"\d{4}[-./]\d{2}[-./]\d{2}|\d{1,2}[-./]\d{1,2}[-./]\d{4}", text):
        return False
    return text[0] in "+(0" or bool(re.search(r"\d[ ()./-]+\d", text))


# The order matters: what is more surely told goes first.
FORMS: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
    ("secret", _SECRET, _whatever),
    ("login", _URL_LOGIN, _whatever),
    ("email", _EMAIL, _whatever),
    ("iban", _IBAN, _is_iban),
    ("card", _CARD, _is_card),
    ("ssn", _SSN, _whatever),
    ("ip", _IP, _whatever),
    ("phone", _PHONE, _is_phone),
)


def redacted(text: str) -> str:
    """A text in which what is personal stands as `[email]`, `[phone]`, and so on."""
    for name, form, is_one in FORMS:
        text = form.sub(partial(_instead, name, is_one), text)
    return text


def _instead(name: str, is_one: Callable[[str], bool], found: re.Match[str]) -> str:
    return f"[{name}]" if is_one(found[0]) else found[0]


def redacted_all(value: Any) -> Any:
    """The same of every text in a JSON value."""
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, Mapping):
        return {key: redacted_all(each) for key, each in value.items()}
    return [redacted_all(each) for each in value] if isinstance(value, list) else value
