"""The JSON Schema of routing.yaml, for editors; `load` checks more than it can say."""

from __future__ import annotations

from typing import Any

from dispatcher.core.finess import SHAPE
from dispatcher.rules import printing
from dispatcher.rules.hours import DAYS


def json_schema() -> dict[str, Any]:
    """Return the schema of routing.yaml (JSON Schema, draft 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "sidep-dispatcher routing.yaml",
        "description": "Where the certificates of each site go.",
        **_table(
            {
                "version": {"const": 1, "description": "Version of this format."},
                "lbm": _LBM,
                "profiles": {
                    "type": "object",
                    "description": "Lists of targets that several sites have in common.",
                    "minProperties": 1,
                    "additionalProperties": {"$ref": "#/$defs/targets"},
                },
                "sites": {
                    "type": "object",
                    "description": "The sites by their FINESS ET, always in quotes.",
                    "minProperties": 1,
                    "propertyNames": {"$ref": "#/$defs/finess"},
                    "additionalProperties": {"$ref": "#/$defs/site"},
                },
                "tests": {
                    "type": "array",
                    "description": "Checked at every start and before every reload.",
                    "minItems": 1,
                    "items": {"$ref": "#/$defs/test"},
                },
            },
            required=["version", "sites"],
        ),
        "$defs": {
            "finess": {
                "type": "string",
                "pattern": f"^{SHAPE.pattern}$",
                "description": "Nine characters in quotes; a number would lose its zero.",
            },
            "name": {"type": "string", "minLength": 1, "maxLength": 120},
            "result": {
                "type": "string",
                "description": "positif, négatif, indéterminé or prélèvement non conforme; "
                "case and accents do not matter.",
                "examples": ["positif", "négatif", "indéterminé", "prélèvement non conforme"],
            },
            "analysis": {
                "type": "string",
                "pattern": "^[0-9]{1,7}-[0-9]$",
                "description": "A LOINC code.",
            },
            "targets": {
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/$defs/target"},
            },
            "target": _TARGET,
            "site": _SITE,
            "test": _TEST,
        },
    }


def _table(properties: dict[str, Any], *, required: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": required,
    }


def _ref(definition: str, description: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{definition}", "description": description}


_DAY = "|".join(DAYS)
_SPAN = "[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9]"

_LBM = _table(
    {
        "name": _ref("name", "The laboratory's name, for people."),
        "finess_ej": _ref("finess", "Its legal body's number; refused in a site's place."),
    },
    required=[],
)

_PRINT = {
    **_table(
        {
            "queue": {
                "type": "string",
                "pattern": f"^[^ /#\\t\\n]{{1,{printing.LONGEST_QUEUE}}}$",
                "description": "A queue of CUPS; {finess} stands for the site's number.",
            },
            "copies": {
                "type": "integer",
                "minimum": 1,
                "maximum": printing.MOST_COPIES,
                "description": "How many of each certificate; 1 when left out.",
            },
            "sides": {
                "enum": list(printing.SIDES),
                "description": "one-sided, two-sided-long-edge or two-sided-short-edge; "
                "the queue's own when left out.",
            },
            "media": {
                "type": "string",
                "pattern": f"^{printing.WORD}$",
                "description": "The paper, as in iso_a4_210x297mm.",
            },
            "tray": {
                "type": "string",
                "pattern": f"^{printing.WORD}$",
                "description": "Where the printer takes the paper from.",
            },
            "banner": {
                "type": "boolean",
                "description": "CUPS's own banner page before each certificate.",
            },
            "separator": {
                "type": "boolean",
                "description": "A page before several certificates that are printed together; "
                "it bears the site's name and how many, and nobody's identity.",
            },
            "when": {
                "enum": list(printing.WHEN),
                "description": "always; open: in the site's `hours` only; hold: when "
                "somebody asks.",
            },
            "options": {
                "type": "object",
                "minProperties": 1,
                "propertyNames": {"pattern": f"^{printing.OPTION}$"},
                "additionalProperties": {"type": ["string", "number", "boolean"]},
                "description": "Further options of CUPS, by name and value.",
            },
        },
        required=["queue"],
    ),
    "description": "A printer, in place of `folder`.",
}

_TARGET = {
    **_table(
        {
            "name": _ref("name", "What the target is called in commands and messages."),
            "folder": {
                "type": "string",
                "pattern": "^/",
                "description": "An absolute path, or else `print`; {finess} stands for the "
                "site's number.",
            },
            "print": _PRINT,
            "when": {
                **_table(
                    {
                        "result": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"$ref": "#/$defs/result"},
                        },
                        "analysis": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"$ref": "#/$defs/analysis"},
                        },
                    },
                    required=[],
                ),
                "minProperties": 1,
                "description": "Only certificates of these results and analyses.",
            },
            "fallback": _ref("name", "The target that takes over when this one refuses."),
            "shared": {
                "type": "boolean",
                "description": "The folder or queue belongs to several sites.",
            },
        },
        required=["name"],
    ),
    "oneOf": [{"required": ["folder"]}, {"required": ["print"]}],
}

_HOURS = {
    "type": "object",
    "minProperties": 1,
    "properties": {
        "closed": {
            "type": "array",
            "items": {"type": "string", "format": "date"},
            "uniqueItems": True,
            "description": "Days on which the site stays closed.",
        },
        "holidays": {
            "type": "boolean",
            "description": "Whether it is closed on the public holidays of all of France.",
        },
    },
    "patternProperties": {
        f"^({_DAY})(-({_DAY}))?$": {
            "type": "string",
            "pattern": f"^{_SPAN}( *, *{_SPAN})*$",
            "description": "The spans of these days, as in 08:00-12:00, 14:00-18:00.",
        },
    },
    "additionalProperties": False,
    "description": "Opening hours, for printers, as in mon-fri: "
    '"08:00-12:00, 14:00-18:00"; a day that is left out is closed.',
}

_SITE = {
    **_table(
        {
            "name": _ref("name", "The site's name, for people."),
            "profile": _ref("name", "One of `profiles`."),
            "deliver": _ref("targets", "The site's own targets, in place of a profile."),
            "aliases": {
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/$defs/finess"},
                "description": "Former FINESS ET numbers of the same place.",
            },
            "hours": _HOURS,
        },
        required=[],
    ),
    "oneOf": [{"required": ["profile"]}, {"required": ["deliver"]}],
}

_TEST = _table(
    {
        "finess": _ref("finess", "The site's number, or a former one."),
        "result": _ref("result", "Left out: the result could not be read."),
        "analysis": _ref("analysis", "Left out: the analysis could not be read."),
        "expect": {
            "type": "array",
            "items": {"$ref": "#/$defs/name"},
            "description": "The targets that such a certificate reaches.",
        },
    },
    required=["finess", "expect"],
)
