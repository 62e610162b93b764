"""The page in a real browser: `page.py CHROMIUM`.

It reads a scenario a line, `[name, url, …]`, and writes for each what went wrong with it, or null.
"""

import json
import sys
import traceback
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, expect, sync_playwright

HANGS = 300_000
"""Milliseconds: no slow machine is hurried."""
SEVERAL = (
    "list the action items, then write a commit message: "
    "Mara will call the printer by Friday, and Tom sends the draft to Lena on Monday."
)
CORRECTION = "Ahoy, and welcome aboard!"
HURRIED = (
    "() => { const later = setTimeout; window.setTimeout = (work, ms) => later(work, ms / 20) }"
)
"""The page's clock, twenty times as fast."""
MARKUP = "<img src=x onerror=alert(1)><b>and for three of them?</b>"


@contextmanager
def opened(browser: Browser, url: str):
    """The page, in which no script fails and nothing is refused but what a scenario waits for."""
    problems: list[str] = []
    # Of its own context: it remembers nothing of another one.
    with browser.new_page() as page:
        page.set_default_timeout(HANGS)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on("console", lambda told: told.type == "error" and problems.append(told.text))
        page.goto(url)
        yield page, problems


def ask(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")
    expect(page.locator(".asked").last).to_have_text(text)


def chat(page: Page, problems: list[str]) -> None:
    """On a real cluster: typed to, decided on, answered, rated, asked on, asked by name."""
    expect(page.locator("#specialists li").first).to_be_visible()
    page.locator("#text").press_sequentially("They offered me 58k but I was hoping for 65k.")
    chosen = page.locator("#decision .chosen .label")
    expect(chosen).to_have_text("demo/salary-coach")
    expect(page.locator("#decision .examples q").first).to_be_visible()
    page.press("#text", "Enter")
    answer = page.locator(".answer.ended")
    expect(answer).to_have_count(1)
    expect(answer.locator("summary")).to_contain_text("demo/salary-coach · version 1 · ")
    expect(answer.locator(".said")).not_to_be_empty()
    answer.get_by_role("button", name="Good").click()
    expect(answer.locator(".rating")).to_have_text("Thank you.")
    ask(page, MARKUP)
    expect(answer).to_have_count(2)
    ask(page, "What is the capital of Peru?")
    expect(answer).to_have_count(3)
    expect(answer.last.locator("summary")).to_contain_text("the base · ")
    expect(page.locator("#messages :is(b, img)")).to_have_count(0)
    page.check("#compose")
    ask(page, SEVERAL)
    expect(answer).to_have_count(4)
    expect(answer.last.locator("summary")).to_contain_text("demo/commit-message")
    expect(answer.last.locator(".step").first).not_to_be_empty()
    page.uncheck("#compose")
    page.fill("#search", "juniper")
    page.get_by_role("button", name="demo/captain-juniper", exact=True).click()
    expect(page.locator("#decision")).to_contain_text("answers, whatever is asked")
    page.check("#keep")
    ask(page, "hello")
    expect(answer).to_have_count(5)
    expect(answer.last.locator("summary")).to_contain_text("demo/captain-juniper")
    answer.last.get_by_role("button", name="Should be otherwise").click()
    answer.last.get_by_role("textbox").fill(CORRECTION)
    answer.last.get_by_role("button", name="Send").click()
    expect(answer.last.locator(".rating")).to_have_text("Thank you.")
    page.get_by_role("button", name="choose for me").click()
    expect(page.locator("#answerer")).to_have_text("auto")
    page.get_by_role("button", name="New chat").click()
    expect(page.locator("#messages li")).to_have_count(0)
    assert problems == [], problems


def stopped(page: Page, problems: list[str]) -> None:
    """Beside an engine that says a word and no more: what came is kept, and remembered."""
    ask(page, "hello there")
    expect(page.locator(".said")).to_have_text("Word")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator(".answer.ended [role=alert]")).to_have_text("Stopped.")
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    ask(page, "and again")
    page.get_by_role("button", name="New chat").click()
    expect(page.locator("#messages li")).to_have_count(0)
    assert problems == [], problems


def thinking(page: Page, problems: list[str]) -> None:
    """Beside an engine that thinks first: what it thought is there to be looked at, apart."""
    ask(page, "hello there")
    expect(page.locator(".answer.ended .said")).to_have_text("Yes.")
    thoughts = page.get_by_text("I see.")
    expect(thoughts).not_to_be_visible()
    page.get_by_text("Thoughts").click()
    expect(thoughts).to_be_visible()
    assert problems == [], problems


def failing(page: Page, problems: list[str]) -> None:
    """Beside an engine that fails: its words are shown, and what was asked is not lost."""
    ask(page, "hello there")
    expect(page.locator(".answer.ended [role=alert]")).not_to_be_empty()
    expect(page.locator("#text")).to_have_value("hello there")


def breaking(page: Page, problems: list[str]) -> None:
    """Beside an engine that fails in the middle: what came stays, with why there is no more."""
    ask(page, "hello there")
    expect(page.locator(".answer.ended .said")).to_have_text("Word")
    expect(page.locator(".answer.ended [role=alert]")).not_to_be_empty()
    expect(page.locator("#text")).to_have_value("")
    assert problems == [], problems


def unreachable(page: Page, problems: list[str]) -> None:
    """The server goes: what is asked of it meanwhile says so, and works when it is back."""
    expect(page.locator("#specialists")).to_contain_text("ada/french")
    page.route("**/v1/**", lambda route: route.abort())
    page.fill("#search", "french")
    expect(page.locator("#specialists")).to_have_text("The server cannot be reached.")
    ask(page, "hello there")
    expect(page.locator(".answer.ended [role=alert]")).to_have_text("The server cannot be reached.")
    page.unroute("**/v1/**")
    page.press("#text", "Enter")
    expect(page.locator(".answer.ended .said").last).to_have_text("hello there")
    page.fill("#search", "weather")
    expect(page.locator("#specialists")).to_contain_text("bob/weather")


def wanted(page: Page, file: str, name: str = "fox") -> None:
    page.get_by_role("link", name="Make a specialist").click()
    page.fill("[name=name]", name)
    page.fill("[name=description]", "Greets.")
    page.set_input_files("[name=files]", file)
    page.select_option("[name=effort]", "quick")
    page.get_by_role("button", name="Make it").click()


def waiting(page: Page, problems: list[str], file: str) -> None:
    """Beside no trainer: what is wanted waits, is paused, waits again, and is cancelled."""
    wanted(page, file)
    job = page.locator("#jobs li")
    expect(job).to_contain_text("local/fox queued")
    for doing, status in (("pause", "paused"), ("resume", "queued"), ("cancel", "cancelled")):
        job.get_by_role("button", name=doing).click()
        expect(job).to_contain_text(f"local/fox {status}")
    expect(job.get_by_role("button")).to_have_count(0)
    assert problems == [], problems


def made(page: Page, problems: list[str], good: str, bad: str) -> None:
    """Beside a trainer: of bad rows it is said what is wrong; of good ones a specialist comes."""
    page.evaluate(HURRIED)
    wanted(page, bad)
    job = page.locator("#jobs li").first
    expect(job).to_contain_text("local/fox failed")
    expect(job.locator(".failed")).to_contain_text("line 1")
    wanted(page, good)
    expect(job).to_contain_text("local/fox succeeded")
    expect(job.locator("svg polyline")).to_have_count(1)
    expect(job).to_contain_text("perplexity")
    job.get_by_role("button", name="Ask local/fox").click()
    expect(page.locator("#answerer")).to_have_text("local/fox")
    ask(page, "hello there")
    expect(page.locator(".answer.ended summary")).to_contain_text("local/fox · version 1")
    assert problems == [], problems


def used(page: Page, problems: list[str], before: str, then: str) -> None:
    """What was asked before is shown by its days and by who answered; then back to the chat."""
    page.get_by_role("link", name="Usage").click()
    expect(page.locator("#used > p")).to_have_text(
        "1,003 requests, 2,011 tokens read and 3,011 written."
    )
    lines = page.locator("#used .bars li")
    expect(lines).to_have_count(2)
    expect(lines.first).to_have_text("bob/weather1,000 requests, 5,000 tokens")
    expect(lines.last).to_contain_text("3 requests, 22 tokens")
    expect(lines.last).to_have_attribute("title", "3 requests, 11 tokens read and 11 written")
    days = page.locator("#used svg g")
    expect(days).to_have_count(30)
    said = [f"{before}: 1,000 requests", f"{then}: 3 requests"]
    told = [days.filter(has=page.locator("title", has_text=each)) for each in said]
    first, last = (float(each.locator(".read").get_attribute("height")) for each in told)
    assert 40 < first < 50  # of 120: two fifths of the day's tokens
    assert 0 < last < 1
    page.get_by_role("button", name="New chat").click()
    expect(page.locator("#usage")).to_be_hidden()
    expect(page.locator("#chat")).to_be_visible()
    assert problems == [], problems


def unused(page: Page, problems: list[str]) -> None:
    """Nothing was asked so far."""
    page.get_by_role("link", name="Usage").click()
    expect(page.locator("#used")).to_have_text("Nothing was asked for so far.")
    assert problems == [], problems


def locked(page: Page, problems: list[str], key: str) -> None:
    """Beside a server that wants a key: it asks, shows that a wrong one is none, uses the right."""
    page.fill("#key", "mk_wrong")
    page.press("#key", "Enter")
    expect(page.locator("#starters")).to_contain_text("key")
    page.reload()
    page.fill("#key", f" Bearer {key} ")
    page.press("#key", "Enter")
    expect(page.locator("#specialists")).to_contain_text("ada/french")
    page.fill("#text", "translate cheese into french")
    expect(page.locator("#decision .chosen .label")).to_have_text("ada/french")


def played(browser: Browser, scenario: str, url: str, *more: str) -> str | None:
    """What went wrong with a scenario; None if it came to its end."""
    try:
        with opened(browser, url) as (page, problems):
            globals()[scenario](page, problems, *more)
    except Exception:
        return traceback.format_exc()
    return None


if __name__ == "__main__":
    expect.set_options(timeout=HANGS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=sys.argv[1], args=["--no-sandbox"], timeout=HANGS
        )
        for line in sys.stdin:
            sys.stdout.write(json.dumps(played(browser, *json.loads(line))) + "\n")
            sys.stdout.flush()
        browser.close()
