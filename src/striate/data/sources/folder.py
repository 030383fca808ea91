"""A folder of class folders, with or without split folders; and the image files that a user names. Only ever read."""

from __future__ import annotations

from pathlib import Path

from ..listing import Listing
from ..reading import Reading
from .archive import is_archive, name_archive, read_archive_tree
from .flat_splits import list_folders_and_tables
from .tree import SourceTree, TreeFile, read_folder_tree


def list_folder(folder: Path, reading: Reading) -> Listing:
    """The images below `folder`, their classes and splits by `layout.list_tree`.

    Hidden files and folders (`.ipynb_checkpoints` and AppleDouble `._*` among them), `__MACOSX`, `Thumbs.db` and their
    like, empty folders, files that are not images, pipes and devices, and links to folders that are within class
    folders or lead back are ignored and counted. Where there is no image but archives, each of these is as a folder of
    its name. Raises DataError where there is no folder, no class folder or no image.
    """
    tree = read_folder_tree(folder)
    if not tree.images:
        mount_archives(tree)
    return list_folders_and_tables(tree, reading)


def mount_archives(tree: SourceTree) -> None:
    """Put the archives that lie at the top of a folder into its tree, each as a folder: cat.zip as cat/."""
    files, tree.others = tree.others, []
    for file in files:
        path = file.source
        if len(file.parts) > 1 or not isinstance(path, Path) or not is_archive(path):
            tree.others.append(file)
            continue
        inside, name = read_archive_tree(path), name_archive(path)
        tree.images += [TreeFile((name, *one.parts), one.source) for one in inside.images]
        tree.others += [TreeFile((name, *one.parts), one.source) for one in inside.others]
        tree.folders |= {(name,), *((name, *parts) for parts in inside.folders)}
        tree.ignored += inside.ignored
