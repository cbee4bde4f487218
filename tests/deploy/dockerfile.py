"""The Dockerfile: what each target is made of, and what is wrong with it."""

import importlib.util
import json
import re
from dataclasses import dataclass, field

from libs.runtime.settings import CHECKOUT
from tests.deploy.known import SETTINGS, main_module, setting_problems

DOCKERFILE = CHECKOUT / "deploy" / "images" / "Dockerfile"
GPU = "-gpu"


@dataclass
class Stage:
    """One stage with what it takes over from the stage below."""

    name: str
    base: str
    env: dict[str, str] = field(default_factory=dict)
    single: dict[str, str] = field(default_factory=dict)
    """USER, ENTRYPOINT and such, of which the last counts."""
    runs: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        """The first that it exposes; 0 without one."""
        return int(self.single.get("EXPOSE", "0").split()[0])


@dataclass(frozen=True)
class Dockerfile:
    """Stages by name, and the images they begin with."""

    stages: dict[str, Stage]
    arguments: dict[str, str]

    def targets(self) -> dict[str, Stage]:
        """What images are made of."""
        return {name: stage for name, stage in self.stages.items() if "ENTRYPOINT" in stage.single}


def parse(text: str) -> Dockerfile:
    """Read the instructions that matter here; nothing inside a RUN."""
    stages: dict[str, Stage] = {}
    arguments: dict[str, str] = {}
    stage: Stage | None = None
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        word, _, rest = line.strip().partition(" ")
        match word:
            case "ARG" if stage is None:
                name, _, value = rest.partition("=")
                arguments[name] = value
            case "FROM":
                base, _, name = rest.partition(" AS ")
                below = stages.get(base)
                stage = Stage(name, base)
                if below is not None:
                    stage.env, stage.single = dict(below.env), dict(below.single)
                stages[name] = stage
            case "ENV" if stage is not None:
                stage.env |= dict(pair.split("=", 1) for pair in rest.split())
            case "RUN" if stage is not None:
                stage.runs.append(rest)
            case "USER" | "EXPOSE" | "ENTRYPOINT" | "HEALTHCHECK" | "STOPSIGNAL" | "WORKDIR" if stage is not None:
                stage.single[word] = rest.strip()
            case _:
                pass
    return Dockerfile(stages, arguments)


def problems(dockerfile: Dockerfile) -> list[str]:
    """Everything that is wrong, one line each."""
    found: list[str] = []
    for name, image in dockerfile.arguments.items():
        if image and (":" not in image or image.endswith(":latest")):
            found.append(f"{name} is {image}, which names no version")
    for name, stage in dockerfile.targets().items():
        found += [f"{name}: {problem}" for problem in _of_target(stage, name.removesuffix(GPU))]
        plain = dockerfile.targets().get(name.removesuffix(GPU))
        if plain is None or plain.env != stage.env or plain.single != stage.single:
            found.append(f"{name} is not told what the target without a GPU is told")
    missing = set(SETTINGS) - set(dockerfile.targets())
    return found + [f"there is no target {name}" for name in sorted(missing)]


def _of_target(stage: Stage, service: str) -> list[str]:
    found: list[str] = []
    user = stage.single.get("USER", "")
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", user):
        found.append(f"runs as {user or 'root'}, not as a number that is not root")
    if "HEALTHCHECK" not in stage.single or stage.single.get("STOPSIGNAL") != "SIGTERM":
        found.append("has no health check or another signal than SIGTERM")
    try:
        entry = json.loads(stage.single["ENTRYPOINT"])
    except json.JSONDecodeError:
        return [*found, "its ENTRYPOINT is no list: a shell would stand between it and signals"]
    if service in SETTINGS:
        if entry != ["python", "-m", main_module(service)] or importlib.util.find_spec(entry[2]) is None:
            found.append(f"starts {entry}")
        if stage.env.get(f"INKWRIGHT_{service.upper()}_ADDRESS") != f"0.0.0.0:{stage.port}":
            found.append(f"exposes {stage.port} and does not listen there")
        if f'"deploy.probe", "{service}"' not in stage.single.get("HEALTHCHECK", ""):
            found.append("its health check asks another process")
        found += setting_problems(service, stage.env)
    return found
