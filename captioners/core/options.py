"""The base of every option model, and the two roles of a recipe field: meaning (hashed) or operation (recorded only).

A class's own fields are its recipe keys. Option models live in torch-free modules, so that `check` and `list` start
quickly.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Options(BaseModel):
    """Strict, frozen, closed: unknown keys, wrong types and NaN are refused, and nothing changes after validation."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def operation(default: Any = ..., **kwargs: Any) -> Any:
    """Declare a field that does not change what a caption says (workers, batch, paths): recorded, never hashed."""
    return Field(default, json_schema_extra={"role": "operation"}, **kwargs)


def added(default: Any, **kwargs: Any) -> Any:
    """Declare a field of meaning that older versions lacked: hashed once it is set, so their runs keep their names."""
    return Field(default, json_schema_extra={"role": "added"}, **kwargs)


def meaning_of(options: BaseModel) -> dict[str, Any]:
    """Return the JSON-able fields that change what a caption says: everything not declared `operation`.

    This is what a layer's fingerprint hashes (design section 4).
    """
    found: dict[str, Any] = {}
    for name, field in type(options).model_fields.items():
        extra = field.json_schema_extra
        role = extra.get("role") if isinstance(extra, dict) else "meaning"
        value = getattr(options, name)
        if role == "operation" or (role == "added" and value == field.default):
            continue
        found[name] = (
            meaning_of(value) if isinstance(value, BaseModel) else options.model_dump(mode="json", include={name})[name]
        )
    return found
