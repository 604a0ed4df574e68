"""`explain` and `dry-run`: what would happen, and why. Nothing is written anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dispatcher import wiring
from dispatcher.cli.decide import finess_et
from dispatcher.cli.exits import Exit
from dispatcher.cli.options import DEFAULT_CONFIG, AsJson, Config
from dispatcher.cli.screen import plain, print_json, print_table, screen
from dispatcher.cli.shapes import Json, assessment_shape
from dispatcher.core.certificate import Certificate, Claim, Facts, Foreign, Held, Result
from dispatcher.core.finess import FinessET
from dispatcher.core.routing import Rules, decide
from dispatcher.service.assess import Assessment, assess, purge_at
from dispatcher.service.decisions import NotAsked, NotPossible
from dispatcher.service.named import naming
from dispatcher.service.preview import Previewed, preview


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command()(explain)
    app.command("dry-run")(dry_run)


def explain(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE.eml", help="A message, as raw bytes.")
    ] = None,
    finess: Annotated[
        str | None, typer.Option("--finess", metavar="N", help="Explain a site's routing.")
    ] = None,
    as_json: AsJson = False,
    config: Config = DEFAULT_CONFIG,
) -> None:
    """Say what was read from each source, what agreed, which targets, which deadline."""
    if (file is None) == (finess is None):
        raise NotAsked("give either a message file or --finess N")
    chosen = wiring.configuration(config)
    if finess is not None:
        _explain_site(finess_et(finess), chosen.rules, as_json=as_json)
    elif file is not None:
        _explain_file(file, chosen, as_json=as_json)


def dry_run(as_json: AsJson = False, config: Config = DEFAULT_CONFIG) -> None:
    """Say what `run` would do with every message in the mailboxes; change nothing."""
    chosen = wiring.configuration(config)
    found: list[Previewed] = []
    with wiring.open_inspector() as inspector:
        reader = wiring.reader(chosen, inspector)
        for mailbox in wiring.mailboxes(chosen):
            with naming(mailbox.name):
                found += preview(mailbox, reader)
    if as_json:
        print_json([_preview_shape(one) for one in found])
    else:
        print_table(
            "What would happen",
            ("mailbox", "uid", "outcome", "reason", "site", "targets", "until"),
            (_preview_row(one) for one in found),
            empty="nothing: no mail, or none that arrived after `since`",
        )
    held = any(isinstance(one.assessment.reading, Held) for one in found)
    raise typer.Exit(Exit.ATTENTION if held else Exit.DONE)


def _explain_file(file: Path, chosen: wiring.Configuration, *, as_json: bool) -> None:
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise NotAsked(f"the message file cannot be read ({error.strerror})") from None
    with wiring.open_inspector() as inspector:
        reader = wiring.reader(chosen, inspector)
        (assessment,) = assess([raw], reader)
    now = wiring.CLOCK.now()
    shape = assessment_shape(assessment, purge_at(assessment, now, reader.policy))
    if as_json:
        print_json(shape)
    else:
        _print_explanation(assessment, shape)
    held = isinstance(assessment.reading, Held)
    raise typer.Exit(Exit.ATTENTION if held else Exit.DONE)


def _print_explanation(assessment: Assessment, shape: Json) -> None:
    reading = assessment.reading
    if isinstance(reading, Foreign):
        screen().print(
            "Foreign mail: neither its sender nor its subject is SI-DEP's. Left alone."
        )
        return
    claims = (
        ("subject", reading.sources.subject),
        ("attachment's name", reading.sources.attachment),
        ("body", reading.sources.body),
    )
    print_table(
        "What each source says",
        ("source", "site (ET)", "file number", "last name", "first name"),
        (_claim_row(name, claim) for name, claim in claims),
        empty="nothing",
    )
    facts = shape["facts"]
    rows = [(name, facts[name]) for name in ("result", "analysis", "sampled_at")]
    rows += [(name, value) for name, value in shape["document"].items()]
    rows += [("would be kept until", shape["purge_at"])]
    print_table("What is known", ("fact", "value"), rows, empty="nothing")
    _print_outcome(assessment)


def _print_outcome(assessment: Assessment) -> None:
    if isinstance(assessment.reading, Certificate):
        screen().print(f"The sources agree. Delivered to site {assessment.site}:")
        for target in assessment.targets:
            screen().print(
                f"  {plain(target.name)} ({target.kind.value}): {plain(target.place)}"
            )
    elif isinstance(assessment.reading, Held):
        reading = assessment.reading
        screen().print(f"Held: [yellow]{reading.reason.value}[/] — {plain(reading.detail)}")


def _claim_row(name: str, claim: Claim | None) -> tuple[object, ...]:
    if claim is None:
        return (name, "—", "—", "—", "—")
    return (name, claim.site, claim.file_number, claim.last_name, claim.first_name)


def _explain_site(number: FinessET, rules: Rules, *, as_json: bool) -> None:
    site = rules.site_of(number)
    if site is None:
        raise NotPossible(
            f"{number} is not in routing.yaml: its certificates would be held (site-unknown)",
            hint="Add it to `sites`, or to the `aliases` of the place that replaced it.",
        )
    routes = {
        name: [t.name for t in decide(rules, Facts(site=number, result=result)) or ()]
        for name, result in {**{r.value: r for r in Result}, "unread": None}.items()
    }
    if as_json:
        targets = [
            {"name": t.name, "kind": t.kind.value, "place": t.place} for t in site.targets
        ]
        print_json(
            {"site": str(site.finess), "name": site.name, "targets": targets, "routes": routes}
        )
        return
    if not number.luhn_valid:
        screen().print("[yellow]warning[/]  the number's check digit is wrong")
    print_table(
        f"Site {site.finess} {plain(site.name)}",
        ("target", "kind", "place"),
        ((t.name, t.kind.value, t.place) for t in site.targets),
        empty="no targets",
    )
    print_table(
        "By result",
        ("result", "goes to"),
        ((name, ", ".join(names) or "held (target-refused)") for name, names in routes.items()),
        empty="nothing",
    )


def _preview_shape(one: Previewed) -> Json:
    shape = assessment_shape(one.assessment, one.purge_at)
    where = {"mailbox": one.ref.mailbox, "uidvalidity": one.ref.uidvalidity, "uid": one.ref.uid}
    return {**where, "repeats": one.repeats, **shape}


def _preview_row(one: Previewed) -> tuple[object, ...]:
    shape = _preview_shape(one)
    outcome = f"repeats uid {one.repeats}" if one.repeats else shape["outcome"]
    targets = ", ".join(target["name"] for target in shape["targets"])
    until = "" if one.purge_at is None else one.purge_at.date()
    where = (one.ref.mailbox, one.ref.uid)
    return (*where, outcome, shape["reason"], shape.get("site"), targets, until)
