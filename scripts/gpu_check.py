"""Everything that onnxnull does with a running model, on CUDA and on the CPU, and whether the two agree.

`scripts/gpu_check [MODEL...]` runs this on the shipped models and on those that are named. Every step prints what it measured
and ends with PASS or FAIL; a step that fails does not stop the next one. Exits 0 if all holds, 1 if something does not, 3
without CUDA.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from onnxnull import analyze
from onnxnull.collision.cases import Case, load_cases, pixel_box, random_case
from onnxnull.collision.output_change import compare
from onnxnull.collision.perturb import Recipe
from onnxnull.collision.results import Collision, Decision, Run, Space
from onnxnull.collision.search import Execution, Place, Search
from onnxnull.doctor import examine
from onnxnull.errors import Code, ExitCode, OnnxnullError
from onnxnull.evidence.replay import replay
from onnxnull.evidence.write_bundle import Bundle
from onnxnull.graph.model import open_model
from onnxnull.inputs import Preprocessing
from onnxnull.kernel.maps.linear_map import Array
from onnxnull.runtime.canary import check_float32, products_of
from onnxnull.runtime.precision import Precision, has_integer_arithmetic
from onnxnull.runtime.providers import Provider, cuda_problem
from onnxnull.runtime.session import Runner

MODELS = Path(__file__).resolve().parent.parent / "models"
SHIPPED = tuple(MODELS / f"digits_{name}.onnx" for name in ("vit", "cnn", "mlp", "segmentation"))
PRECISIONS = (Precision.FLOAT64, Precision.FLOAT32)
AGREE = {Precision.FLOAT64: 1e-11, Precision.FLOAT32: 1e-4, Precision.NATIVE: 1e-2}
"""max |Δ| / max |y| that an output on one provider may be away from the other's; of 8-bit models, about a level."""
SEEN = 1e3
"""The control moves an output at least this many times as far as the collision."""
Lines = Iterator[tuple[bool, str]]
"""What a step measured: whether it is as it should be, and in words."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A model with inputs for it: a sample picture for a shipped model, random numbers for any other."""

    path: Path
    case: Case
    box: tuple[Array, Array] | None

    @classmethod
    def of(cls, path: Path) -> Subject:
        """Raises `OnnxnullError` where the model cannot be opened or an input's shape is open."""
        inputs = open_model(path).inputs
        samples = path.parent / "samples" / path.stem
        if not samples.is_dir():
            return cls(path, random_case(inputs, 0, {}), None)
        return cls(path, load_cases(samples, inputs, Preprocessing())[0], pixel_box(inputs[0], Preprocessing()))

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Input → dimensions."""
        return {name: array.shape for name, array in self.case.arrays.items()}

    @property
    def precisions(self) -> tuple[Precision, ...]:
        """What it runs at: a model with integer arithmetic as it is."""
        return (Precision.NATIVE,) if has_integer_arithmetic(onnx.load(self.path)) else PRECISIONS

    def collide(self, precisions: Sequence[Precision], providers: Sequence[Provider]) -> tuple[Search, list[Collision]]:
        """At the input; where that is injective, in front of every layer. Raises `OnnxnullError`."""
        execution = Execution(tuple(precisions), tuple(providers))
        search = Search(open_model(self.path, input_shapes=self.shapes), Place(), execution)
        try:
            return search, list(search.run(self.case, Recipe(box=self.box)))
        except OnnxnullError as error:
            if error.exit_code is not ExitCode.NOTHING:
                raise
        search = Search(open_model(self.path, input_shapes=self.shapes), Place(layer="all"), execution)
        found = list(search.run(self.case, Recipe()))
        if not found:
            raise OnnxnullError(Code.INJECTIVE, f"no layer collides: {'; '.join(error.seen for error in search.skipped)}")
        return search, found


def main(arguments: Sequence[str] | None = None, provider: Provider = Provider.CUDA) -> int:
    """The exit code. Another `provider` stands in for CUDA where there is none: for tests."""
    parser = argparse.ArgumentParser(
        prog="scripts/gpu_check", description="Run everything on CUDA and compare it with the CPU."
    )
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL", help="checked beside the shipped models")
    models = [*SHIPPED, *parser.parse_args(arguments).models]
    problem = cuda_problem() if provider is Provider.CUDA else None
    if problem is not None:
        print(f"no CUDA here: {problem}")
        return int(ExitCode.NOTHING)
    results = [*check(models, provider)]
    failed = [title for title, passed in results if not passed]
    print(f"\n{len(results) - len(failed)} of {len(results)} steps pass" + "".join(f"\nFAIL {title}" for title in failed))
    return int(ExitCode.VIOLATED if failed else ExitCode.PASS)


def check(models: Sequence[Path], provider: Provider) -> Iterator[tuple[str, bool]]:
    """Run and print every step → its title and whether it passed."""
    yield step("doctor", doctor(provider))
    subjects: list[Subject] = []
    yield step("the models open", opened(models, subjects))
    yield step("the session's providers", providers_got(subjects, provider))
    yield step("float32 is no TF32, at the models' shapes", canary(subjects, provider))
    yield step("analyze", analyses([subject for subject in subjects if subject.path in SHIPPED]))
    for subject in subjects:
        name = subject.path.name
        yield step(f"{name}: collisions on both providers", collisions(subject, PRECISIONS, (provider, Provider.CPU)))
        yield step(f"{name}: float16", half(subject, provider))
        yield step(f"{name}: the same input on both providers", agreement(subject, provider))
        yield step(f"{name}: replay on the other provider", exchange(subject, provider))


def step(title: str, lines: Lines) -> tuple[str, bool]:
    """Print a step as it goes → (title, whether everything was as it should be)."""
    print(f"\n{title}", flush=True)
    passed = True
    try:
        for held, text in lines:
            passed = passed and held
            print(f"  {text}{'' if held else '   <- FAIL'}", flush=True)
    except OnnxnullError as error:
        passed = error.exit_code is ExitCode.NOTHING
        print(f"  {'nothing to find: ' if passed else ''}{error}")
    except Exception:  # noqa: BLE001 - the other steps are wanted all the same: such a machine is not at hand every day
        passed = False
        traceback.print_exc(file=sys.stdout)
    print("PASS" if passed else "FAIL", title, flush=True)
    return title, passed


def doctor(provider: Provider) -> Lines:
    for finding in examine():
        if finding.subject == "versions" or finding.subject.startswith(provider.value) or finding.state == "broken":
            remedy = "" if finding.remedy is None else f"; {finding.remedy}"
            yield finding.state != "broken", f"{finding.subject}: {finding.state}, {finding.seen}{remedy}"


def opened(models: Sequence[Path], subjects: list[Subject]) -> Lines:
    for path in models:
        try:
            subjects.append(Subject.of(path))
            yield True, f"{path.name}, from {subjects[-1].case.source}"
        except OnnxnullError as error:
            yield False, f"{path}: {error}"


def providers_got(subjects: Sequence[Subject], provider: Provider) -> Lines:
    for subject in subjects:
        for precision in subject.precisions:
            found = Runner(open_model(subject.path), precision, provider=provider).description
            lowered = f", lowered: {', '.join(found['lowered'])}" if found["lowered"] else ""
            got = ", ".join(found["providers"])
            yield found["providers"][0] == provider.value, f"{subject.path.name} {precision.value}: {got}{lowered}"


def canary(subjects: Sequence[Subject], provider: Provider) -> Lines:
    for subject in subjects:
        products = products_of(onnx.load(subject.path), list(subject.shapes.items()))
        check_float32(provider, products)
        yield True, f"{subject.path.name}: {len(products)} products are computed in float32"


def analyses(subjects: Sequence[Subject]) -> Lines:
    for subject in subjects:
        report = analyze(subject.path)
        seen = f"{report.paper.nu} of {report.paper.weights} weights have a kernel, nullities sum to {report.paper.nullity:,}"
        yield report.complete, f"{subject.path.name}: {seen}"


def collisions(subject: Subject, precisions: Sequence[Precision], providers: Sequence[Provider]) -> Lines:
    search, found = subject.collide(precisions, providers)
    for error in search.skipped:
        yield True, f"no collision: {error.seen}"
    for collision in found:
        for run in collision.runs:
            yield judged(collision, run)


def half(subject: Subject, provider: Provider) -> Lines:
    """Collisions at float16, where the provider computes in it."""
    try:
        yield from collisions(subject, [Precision.FLOAT16], [provider])
    except OnnxnullError as error:
        if error.code is not Code.PROVIDER:
            raise
        yield True, f"not run: {error.seen}"


def judged(collision: Collision, run: Run) -> tuple[bool, str]:
    """Whether no claim is broken and, for images at float32 and float64, the network sees the control far better."""
    moved, control = (max((c.max_abs for c in changes), default=0.0) for changes in (run.outputs, run.control))
    exact = run.precision in (precision.value for precision in PRECISIONS)
    seen = SEEN * moved <= control or collision.space is not Space.INPUT or not exact
    claims = [
        f"{kind} {claim.value:.2g}{'' if claim.ratio is None else f' ({claim.ratio:.2g} of what is allowed)'}"
        for layer in run.layers
        for kind, claim in (("kernel", layer.kernel), ("runtime", layer.runtime))
    ]
    provider = str(run.session["provider"]).removesuffix("ExecutionProvider")
    text = f"{collision.where} {run.precision} on {provider}: {run.verdict.label}; {', '.join(claims)}"
    return run.verdict.decision is Decision.HOLDS and seen, f"{text}; outputs max |Δ| {moved:.2g}, control {control:.2g}"


def agreement(subject: Subject, provider: Provider) -> Lines:
    for precision in subject.precisions:
        here, there = (
            Runner(open_model(subject.path), precision, provider=each).run(subject.case.arrays)
            for each in (Provider.CPU, provider)
        )
        for name, array in here.items():
            change = compare(name, array, there[name])
            agrees = change.max_abs == 0 or (change.relative is not None and change.relative <= AGREE[precision])
            relative = "-" if change.relative is None else f"{change.relative:.2g}"
            text = f"{name} {precision.value}: max |Δ| {change.max_abs:.2g}, relative {relative}"
            yield agrees, f"{text} of at most {AGREE[precision]:g}"


def exchange(subject: Subject, provider: Provider) -> Lines:
    """Evidence that was made on one provider is confirmed on the other, both ways."""
    for made, confirmed in ((provider, Provider.CPU), (Provider.CPU, provider)):
        search, found = subject.collide(PRECISIONS, [made])
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "evidence"
            with Bundle(place, search, Preprocessing()) as bundle:
                for collision in found:
                    bundle.add(collision)
            for each in replay(place, subject.path, providers=[confirmed]):
                verdicts = ", ".join(f"{run.precision} {run.verdict.label}" for run, _ in each.pairs)
                text = f"{each.recorded.where} made on {made.name}, replayed on {confirmed.name}: {verdicts}"
                yield each.confirmed, "; ".join([text, *each.objections])


if __name__ == "__main__":
    raise SystemExit(main())
