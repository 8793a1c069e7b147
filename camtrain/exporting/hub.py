"""The hub of Hugging Face, to which an exported folder can be sent."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Hub:
    """A repository on the hub of Hugging Face. Who sends to it is who is logged in there: `hf auth login`.

    Args:
        repository: Its name, such as `ann/digits`.
        public: Whether it is visible to everybody if it is new. One that is there stays as it is.

    Raises:
        ValueError: If huggingface_hub is not installed, or there can be no repository of that name.
    """

    def __init__(self, repository: str, *, public: bool = False) -> None:
        try:
            self._hub: Any = importlib.import_module("huggingface_hub")
        except ModuleNotFoundError as error:
            if error.name != "huggingface_hub":
                raise
            raise ValueError("`push`: expected huggingface_hub to be installed; pip install 'camtrain[hub]'") from error
        try:
            self._hub.utils.validate_repo_id(repository)
        except ValueError as error:
            raise ValueError(
                f"`push`: expected a repository such as ann/digits, got {repository!r}: {error}"
            ) from error
        self.repository = repository
        self.public = public

    def send(self, folder: Path, files: Sequence[str], removed: Sequence[str] = ()) -> str:
        """Send files of a folder, in one commit.

        Args:
            folder: The folder.
            files: The names of the files.
            removed: The names of files that are removed from the repository if they are there.

        Returns:
            The address of the repository.

        Raises:
            OSError: If the hub cannot be reached, or refuses.
        """
        api = self._hub.HfApi(library_name="camtrain")
        try:
            created = api.create_repo(self.repository, private=not self.public, exist_ok=True)
            api.upload_folder(
                repo_id=self.repository,
                folder_path=folder,
                allow_patterns=list(files),
                delete_patterns=list(removed) or None,
                commit_message="Export from camtrain",
            )
        except Exception as error:  # the client raises those of its network library, too
            reason = " ".join(str(error).split())[:300]
            raise OSError(
                f"`push`: the hub did not take {self.repository}: {type(error).__name__}: {reason}; all files are in "
                f"{folder}, and the same command sends them again"
            ) from error
        return str(created)
