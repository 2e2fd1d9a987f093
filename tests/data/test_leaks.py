"""Training pictures that an evaluation set holds, too, by COCO number."""

import json

from captioners.data.coco_source import CocoOptions
from captioners.data.leaks import LeakReport
from tests.data.annotated import coco, pictures
from tests.data.rows import good


def test_overlaps_are_counted_for_each_evaluation_set(tmp_path):
    karpathy = [{"cocoid": n, "split": "test" if n < 4 else "train"} for n in range(1, 9)]
    (tmp_path / "dataset_coco.json").write_text(json.dumps({"images": karpathy}))
    coco(tmp_path / "captions_val2017.json", [(50, 4, ("x",)), (60, 4, ("y",))])
    report = LeakReport(
        {"Karpathy test": tmp_path / "dataset_coco.json", "val2017": str(tmp_path / "captions_val2017.json")}
    )
    path = coco(tmp_path / "train/captions_train2017.json", [(n, 4, ("z",)) for n in (1, 3, 5, 7)])
    pictures(tmp_path / "images", *(f"{n:012d}.jpg" for n in (1, 3, 5, 7)))
    for sample in good(CocoOptions(inputs=[str(path)], images=[str(tmp_path / "images")]).open()):
        report.add(sample.key, sample.meta)
    assert report.overlaps["Karpathy test"].shared == {1, 3}
    assert report.overlaps["val2017"].shared == set()
    assert report.lines() == [
        "Karpathy test: 2 of its 3 images are in this set (1, 3); leave them out, or evaluate on others",
        "val2017: 0 of its 2 images are in this set",
    ]


def test_an_image_met_several_times_counts_once_and_examples_are_few(tmp_path):
    (tmp_path / "ids.txt").write_text("\n".join(map(str, range(1, 100))))
    report = LeakReport({"ids": tmp_path / "ids.txt"})
    for number in [*range(1, 8)] * 2:
        report.add(f"{number:012d}", {})
    assert report.lines()[0].startswith("ids: 7 of its 99 images are in this set (1, 2, 3, 4, 5, ...)")


def test_samples_without_a_number_are_said_to_be_unknown_not_clean(tmp_path):
    (tmp_path / "ids.txt").write_text("7\n")
    report = LeakReport({"ids": tmp_path / "ids.txt"})
    report.add("00000007", {})  # a line's number, no image's
    report.add("train_00007", {"example_id": "train_00007"})
    assert (report.samples, report.with_number) == (2, 0)
    assert report.lines() == [
        "ids: 0 of its 1 images are in this set",
        "2 of 2 samples have no COCO number, so they could not be compared",
    ]
    assert LeakReport({}).lines() == []
