"""captioners/core/package_data.py: the packaged recipes and data cards."""

from pathlib import Path

from captioners.core.package_data import data_card_names, data_cards_dir, recipe_names, recipes_dir


def test_every_recipe_on_disk_has_its_name():
    beside = {".sh", ".sbatch"}  # job files of clusters, which start a recipe
    on_disk = [path for path in recipes_dir().rglob("*") if path.is_file() and path.suffix not in beside]
    assert len(recipe_names()) == len(on_disk) > 0
    assert "caption/photos" in recipe_names()


def test_every_data_card_on_disk_has_its_name():
    on_disk = [path.name for path in Path(data_cards_dir()).iterdir() if path.name != "README.md"]
    assert sorted(f"{name}.md" for name in data_card_names()) == sorted(on_disk)
