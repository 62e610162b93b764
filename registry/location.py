"""Where a registry keeps what it knows."""

from dataclasses import dataclass
from pathlib import Path

from registry.blobs import BLOBS, Blobs, BlobStore
from registry.copies import MOST_BYTES
from registry.database import DATABASE, Database
from registry.errors import StorageError
from registry.private import make_home, private_folder


@dataclass(frozen=True, slots=True)
class Location:
    """A home folder.

    Attributes:
        home: what is not elsewhere is there, and copies of files that are.
        database: the URL of a PostgreSQL database, in place of SQLite there.
        files: a URL that fsspec reaches, such as `s3://bucket/prefix`, in place of a folder there.
        copies: bytes that copies of such files may take in the home.
    """

    home: Path
    database: str | None = None
    files: str | None = None
    copies: int = MOST_BYTES

    @classmethod
    def of(cls, place: "Path | Location") -> "Location":
        """A home alone keeps everything itself."""
        return place if isinstance(place, Location) else cls(place)

    @property
    def is_new(self) -> bool:
        """Whether there is no registry yet."""
        return self.database is None and not (self.home / DATABASE).exists()

    def open(self) -> Database:
        """The database, made and brought up to date first if need be.

        Raises:
            StorageError: it cannot be used, or a newer release has written it.
        """
        make_home(self.home)
        if self.database is not None:
            return Database.connect(self.database)
        return Database.open(self.home / DATABASE)

    def known(self) -> Database:
        """The database of a registry that is there.

        Raises:
            StorageError: there is none, or it cannot be used.
        """
        if self.is_new:
            raise StorageError(f"{self.home} has no registry yet.")
        return self.open()

    def blobs(self) -> Blobs:
        """The files of versions.

        Raises:
            StorageError: the folder cannot be used, or nothing installed reaches the URL.
        """
        folder = BlobStore(private_folder(self.home / BLOBS))
        if self.files is None:
            return folder
        # Whoever keeps files at home needs no library of another store's.
        from registry.remote_blobs import RemoteBlobStore

        return RemoteBlobStore(self.files, folder, self.copies)
