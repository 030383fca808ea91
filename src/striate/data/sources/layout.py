"""Which folders of a data set are splits and which are classes, by how they are nested and by what they are called.

One rule for a folder and for an archive:

1. A single folder that holds all images in folders of its own is stepped into, at the top and within each split.
2. Folders that are called as splits (`split_names`) and hold folders are splits. Where all are called as splits, folds
   or parts, they are never classes.
3. Classes are the folders next to the images' splits; the folders below those, where the upper ones are places or
   numbers and the lower ones words, or where no lower name occurs twice. What can be read in both ways is refused.
"""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ...errors import DataError
from ...language import join_texts, say, say_count, to_say
from ...terminal import format_count
from ..listing import Listing, format_ignored, say_reason, shorten_list
from ..reading import Reading
from .archive import name_archive
from .class_folders import place_by_folders, place_by_names, says_class
from .nodes import Branch, FolderNode, Understood, build_node, join_names, order_parts
from .split_names import FolderRole, find_pure_splits, find_roles
from .tree import Parts, SourceTree

# The share of the images that belong to no class or split, above which they are not left out without being asked.
MOST_DROPPED = 0.01


def list_tree(tree: SourceTree, reading: Reading) -> Listing:
    """The images of a folder or an archive with their classes and splits. Raises DataError for what cannot be told."""
    seen, top = Understood(tree.where), build_node(sorted(tree.images, key=order_parts))
    if not top.count:
        raise explain_no_image(tree)
    branches = find_branches(seen, step_inside(seen, Branch((), top)), reading)
    if reading.labels_from == "name":
        place_by_names(seen, branches)
    else:
        place_by_folders(seen, branches, reading)
    return finish_listing(seen, tree, reading, branches)


def step_inside(seen: Understood, branch: Branch) -> Branch:
    """The branch below folders that only wrap the others, which a note tells."""
    path, node = branch.path, branch.node
    while len(node.children) == 1 and not node.files:
        [(name, child)] = node.children.items()
        stray = len(child.files) <= MOST_DROPPED * child.count
        if not (stray and child.children) or find_roles([name]):
            break
        path, node = (*path, name), child
    if path != branch.path:
        folder = "/".join(path)
        seen.notes.append(
            say("the {split} images lie in {folder}/", split=branch.split, folder=folder)
            if branch.split
            else say("read from {folder}/, which holds all images", folder=folder)
        )
    return branch._replace(path=path, node=node)


def find_branches(seen: Understood, top: Branch, reading: Reading) -> list[Branch]:
    """The folders whose folders are classes: one, or one of each split, fold or part. Raises DataError."""
    roles = find_roles(list(top.node.children))
    kinds = {role.kind for role in roles.values()}
    everywhere = len(roles) == len(top.node.children) > 0
    if "split" in kinds and (found := find_split_branches(seen, top, roles, everywhere, reading)):
        return found
    if everywhere and kinds <= {"fold", "part"}:
        return find_part_branches(seen, top, roles, reading)
    if inner := find_inner_splits(seen, top):
        return inner
    named = [name for name, role in roles.items() if role.kind == "split"]
    seen.notes += [
        say("{name}/ is taken as a class: it holds images and no class folders", name=name) for name in named
    ]
    return [top]


def find_split_branches(
    seen: Understood, top: Branch, roles: dict[str, FolderRole], everywhere: bool, reading: Reading
) -> list[Branch]:
    """The splits; none where a folder is only called as one, among classes. Raises DataError."""
    by_name = reading.labels_from == "name"
    splits = {name: top.node.children[name] for name, role in roles.items() if role.kind == "split"}
    holding = {name: node for name, node in splits.items() if node.children or by_name}
    if not holding and everywhere:
        raise explain_flat_folders(seen.where, top.path, splits, say("splits"))
    if not holding or (by_name and not everywhere and not any(node.children for node in splits.values())):
        return []
    found: dict[str, Branch] = {}
    for name, node in holding.items():
        split = str(roles[name].split)
        if split in found:
            got = f"{found[split].path[-1]}, {name}"
            raise DataError(
                seen.where,
                say("two folders mean the {split} split", split=split),
                got=got,
                hint=say("keep one of them"),
            )
        found[split] = step_inside(seen, Branch((*top.path, name), node, split))
    for name, node in top.node.children.items():
        if name in splits and name not in holding:
            seen.drop(say("split folders without class folders ({name})", name=name), node.walk())
        elif name not in splits:
            seen.drop(say("folders beside the splits ({name})", name=name), node.walk())
    seen.drop(to_say("images outside the splits"), top.node.files)
    chosen = [found[split] for split in ("train", "valid", "test") if split in found]
    names = join_names(f"{'/'.join(branch.path)}/" for branch in chosen)
    seen.told.append(say("in {names}", names=names))
    return chosen


def find_part_branches(seen: Understood, top: Branch, roles: dict[str, FolderRole], reading: Reading) -> list[Branch]:
    """The folds or the parts, which together are one data set. Raises DataError."""
    names = tuple(top.node.children)
    kind = "folds" if any(role.kind == "fold" for role in roles.values()) else "parts"
    flat = {name: node for name, node in top.node.children.items() if not node.children}
    if flat and reading.labels_from != "name":
        raise explain_flat_folders(seen.where, top.path, flat, say("folds") if kind == "folds" else say("parts"))
    if kind == "folds" and any(find_pure_splits(node.children) for node in top.node.children.values()):
        what = say("each fold has splits of its own: these are several readings of one data set")
        hint = say("name one of them: {where}", where=posixpath.join(seen.where, *top.path, names[0]))
        raise DataError(seen.where, what, got=shorten_list(names), hint=hint)
    seen.drop(to_say("images outside the folds and parts"), top.node.files)
    parts = say_count("{n:,} fold", "{n:,} folds", len(names))
    if kind != "folds":
        parts = say_count("{n:,} part", "{n:,} parts", len(names))
    seen.told.append(say("in {parts}, {names}, read as one set", parts=parts, names=shorten_list(names, 4)))
    return [
        step_inside(seen, Branch((*top.path, name), node, None, name if kind == "folds" else ""))
        for name, node in top.node.children.items()
    ]


def find_inner_splits(seen: Understood, top: Branch) -> list[Branch]:
    """The splits of classes that hold them: cat/train, cat/test, dog/train; none where that is not so for all."""
    inner = {name: find_pure_splits(node.children) for name, node in top.node.children.items()}
    if not inner or not all(inner.values()) or any(node.files for node in top.node.children.values()):
        return []
    made: dict[str, FolderNode] = {}
    for name, splits in inner.items():
        for folder, split in splits.items():
            node = top.node.children[name].children[folder]
            made.setdefault(split, FolderNode()).children[name] = node
    seen.drop(to_say("images outside the class folders"), top.node.files)
    seen.told.append(say("with {splits} in each class", splits=join_names(made)))
    return [Branch(top.path, made[split], split) for split in ("train", "valid", "test") if split in made]


def explain_flat_folders(where: str, path: Parts, folders: dict[str, FolderNode], kind: str) -> DataError:
    """The error for folders called as splits or parts that hold images and no class folders: their names are no
    classes.
    """
    names = [f"{name}/" for name in folders]
    images = [file.parts[-1] for node in folders.values() for file in node.files]
    got = say(
        "{images} right in {names}",
        images=format_count(sum(node.count for node in folders.values()), "image"),
        names=join_names(names),
    )
    hint = say(
        "{folder}/CLASS/{name}, or a table of file and label beside them",
        folder=posixpath.join(*path, next(iter(folders))),
        name=images[0],
    )
    hint = offer_names(images, hint)
    return DataError(
        where, say("these folders are {kind}, and nothing says the images' classes", kind=kind), got=got, hint=hint
    )


def offer_names(images: Sequence[str], hint: str) -> str:
    """The hint, after that of taking the classes from the images' names where these say them."""
    if not says_class(images):
        return hint
    return say("--labels-from name takes the class from names such as {name}; or {hint}", name=images[0], hint=hint)


def finish_listing(seen: Understood, tree: SourceTree, reading: Reading, branches: Sequence[Branch]) -> Listing:
    """The Listing, with what was left out. Raises DataError where that is too much."""
    ignored = count_ignored(tree)
    refuse_dropped(seen, reading)
    if not seen.entries:
        raise explain_loose_images(seen, tree)
    if seen.links:
        ignored[to_say("links to folders inside class folders")] += len(seen.links)
    for reason, files in seen.dropped.items():
        ignored[reason] += len(files)
    if empty := count_empty_classes(tree, branches):
        ignored[to_say("class folders without an image")] += empty
    return Listing(
        tree.where, tuple(seen.entries), dict(ignored), (*seen.notes, *format_ignored(ignored)),
        join_texts(" ", seen.told),
    )  # fmt: skip


def count_ignored(tree: SourceTree) -> Counter[str]:
    """What was passed over because of what it is, by reason."""
    return tree.ignored + Counter({to_say("files that are not images"): len(tree.others)})


def refuse_dropped(seen: Understood, reading: Reading) -> None:
    """Raise DataError where more than a few images belong to no class or split."""
    count = sum(map(len, seen.dropped.values()))
    whole = count + len(seen.entries)
    if reading.drop_unplaced or not seen.entries or count <= MOST_DROPPED * whole:
        return
    told = [
        say(
            "{reason}: {count:,}, such as {file}",
            reason=say_reason(reason),
            count=len(files),
            file="/".join(files[0].parts),
        )
        for reason, files in seen.dropped.items()
    ]
    what = say("{count:,} of {whole:,} images belong to no class or split", count=count, whole=whole)
    rule = say("at most {most:.0%} are left out without being asked", most=MOST_DROPPED)
    raise DataError(
        seen.where, what, got=join_texts("\n        ", told), rule=rule, hint=say("--drop-unplaced leaves them out")
    )


def count_empty_classes(tree: SourceTree, branches: Sequence[Branch]) -> int:
    """Folders beside those of the classes that hold no image."""
    places = {branch.path: branch.node for branch in branches}
    return sum(
        1 for folder in tree.folders if folder[:-1] in places and folder[-1] not in places[folder[:-1]].children
        and folder not in places
    )  # fmt: skip


def explain_no_image(tree: SourceTree) -> DataError:
    ignored = count_ignored(tree)
    if empty := sum(len(folder) == 1 for folder in tree.folders):
        ignored[to_say("class folders without an image")] += empty
    found = join_texts(
        ", ",
        [
            say("{reason}: {count:,}", reason=say_reason(reason), count=count)
            for reason, count in sorted(ignored.items())
        ]
        or [say("an empty folder")],
    )
    what = say("there is no image in this folder") if tree.folder else say("there is no image in this archive")
    return DataError(tree.where, what, got=found, hint=suggest_class_folders(tree))


def explain_loose_images(seen: Understood, tree: SourceTree) -> DataError:
    """The error for images that lie in no class folder."""
    names = [file.parts[-1] for files in seen.dropped.values() for file in files]
    hint = offer_names(names, suggest_class_folders(tree))
    got = say("{images} at the top", images=format_count(len(names), "image"))
    return DataError(tree.where, say("the images lie in no class folder"), got=got, hint=hint)


def suggest_class_folders(tree: SourceTree) -> str:
    name = Path(tree.where).name if tree.folder else name_archive(Path(tree.where))
    return say("one folder per class: {name}/cat/1.jpg, {name}/dog/2.jpg", name=name)
