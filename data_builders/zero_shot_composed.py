"""Unseen sets where images and texts together ask for an image: CIRCO, GeneCIS, FashionIQ in rounds."""

from collections.abc import Iterator

from nyx_hf.data_builders.zero_shot_media import Asked, Media, Picture, Piece

_CIRCO_IMAGES = "circo/annotations/image_info_unlabeled2017.json"
_OBJECTS = ("change_object", "focus_object")


def circo(media: Media) -> Iterator[Asked]:
    """Reads CIRCO's validation queries: an image and a change ask for all images that are right (`gt_img_ids`)."""
    keys = ("reference_img_id", "relative_caption", "gt_img_ids")
    for row in media.rows("circo/annotations/val.json", keys):
        reference, *right = (_coco(f"{int(one):012d}.jpg") for one in (row["reference_img_id"], *row["gt_img_ids"]))
        yield Asked([reference, row["relative_caption"]], right)


def circo_pool(media: Media) -> Iterator[Piece]:
    """Names all of COCO's unlabelled images, CIRCO's candidates."""
    found = media.json(_CIRCO_IMAGES)
    media.check(found, ("images",), _CIRCO_IMAGES)
    for number, row in enumerate(found["images"]):
        media.check(row, ("file_name",), f"{_CIRCO_IMAGES} image {number}")
        yield _coco(row["file_name"])


def _coco(name: str) -> Picture:
    return Picture(f"circo/images/unlabeled2017/{name}")


def genecis(media: Media) -> Iterator[Asked]:
    """Reads a part of GeneCIS: an image and a condition ask for one image of a gallery of ten to fifteen.

    Objects are shown by COCO's whole images; attributes by crops of Visual Genome's, `ID_ROW_PLACE.jpg`, where place 0
    is the reference, 1 the target, 2 and on the gallery.
    """
    part = media.task.part
    keys = ("reference", "target", "gallery", "condition")
    for number, row in enumerate(media.rows(f"genecis/annotations/{part}.json", keys)):
        images = [row["reference"], row["target"], *row["gallery"]]
        if part in _OBJECTS:
            names = [f"val2017/{int(one['val_image_id']):012d}.jpg" for one in images]
        else:
            names = [f"vg/{part}/{one['image_id']}_{number}_{place}.jpg" for place, one in enumerate(images)]
        reference, target, *gallery = (Picture(f"genecis/{name}") for name in names)
        yield Asked([reference, row["condition"]], [target], gallery)


def fashioniq_rounds(media: Media) -> Iterator[Asked]:
    """Reads Multi-round FashionIQ: images and what to change of each, turn by turn, ask for the last image.

    A turn is `[_, texts, image]`, the target `[_, image]`; a turn's texts are joined by `and`.
    """
    for row in media.rows("multiturnfashion/data/all.val.json", ("reference", "target")):
        query: list[Piece] = []
        for turn in row["reference"]:
            texts = [text for text in turn[1] if text]
            query += [_fashion(turn[2]), *([" and ".join(texts)] if texts else [])]
        yield Asked(query, [_fashion(row["target"][1])])


def fashioniq_pool(media: Media) -> Iterator[Piece]:
    """Names all images of the validation split, its candidates."""
    for name in media.json("multiturnfashion/image_splits/split.all.val.json"):
        yield _fashion(name)


def _fashion(name: str) -> Picture:
    return Picture(f"mbeir_images/fashioniq_images/{name}.jpg")
