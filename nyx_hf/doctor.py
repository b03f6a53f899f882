"""What `nyx-hf doctor` finds: package versions, the torch backend, the Hub login, and which extras are there."""

import platform
import re
import tomllib
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from packaging.requirements import Requirement

from nyx_hf._version import __version__

Status = Literal["ok", "missing", "broken"]
_CHECKOUT = Path(__file__).resolve().parent.parent
_EXTRA = re.compile(r"extra\s*==\s*['\"]([^'\"]+)['\"]")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        group: Heading it stands under.
        name: What was looked at.
        status: `ok`; `missing` (optional, nothing wrong); `broken` (something will fail).
        detail: What was found.
        remedy: What to type or do about it; empty where all is well.
    """

    group: str
    name: str
    status: Status
    detail: str
    remedy: str = ""


def examine(online: bool = False) -> list[Finding]:
    """Looks at everything that nyx_hf runs on.

    Args:
        online: Also ask the Hub who the token belongs to; nothing touches the network otherwise.

    Returns:
        The findings, in the order to show.
    """
    needed, extras = _requirements()
    findings = [_python()]
    findings += [_package("packages", requirement) for requirement in needed]
    if not any(finding.name == "torch" and finding.status == "broken" for finding in findings):
        findings += [*_torch(), _torchvision()]
    findings += _hub(online)
    return findings + [_extra(name, packages) for name, packages in extras.items() if name != "dev"]


def is_well(findings: list[Finding]) -> bool:
    """Whether nothing is broken; what is optional may be missing."""
    return all(finding.status != "broken" for finding in findings)


def as_json(findings: list[Finding]) -> dict[str, Any]:
    """Lays the findings out for a program: `{"ok": bool, "findings": [{group, name, status, detail, remedy}]}`."""
    return {"ok": is_well(findings), "findings": [asdict(finding) for finding in findings]}


def as_text(findings: list[Finding]) -> str:
    """Lays the findings out for a person, one line each under its heading."""
    width = max(len(finding.name) for finding in findings)
    lines: list[str] = []
    for group, members in groupby(findings, key=lambda finding: finding.group):
        lines += [group]
        for finding in members:
            remedy = f"  →  {finding.remedy}" if finding.remedy else ""
            lines.append(f"  {finding.status:<8}{finding.name:<{width + 2}}{finding.detail}{remedy}")
        lines.append("")
    broken = [finding.name for finding in findings if finding.status == "broken"]
    return "\n".join([*lines, f"broken: {', '.join(broken)}" if broken else "all is well"])


def _requirements() -> tuple[list[Requirement], dict[str, list[Requirement]]]:
    """Reads what nyx_hf needs, and what each extra adds, from its own metadata: the one place that says so."""
    if (_CHECKOUT / "pyproject.toml").is_file():
        project = tomllib.loads((_CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extras = {
            name: [Requirement(line) for line in lines] for name, lines in project["optional-dependencies"].items()
        }
        return [Requirement(line) for line in project["dependencies"]], extras
    needed, extras = [], {}
    for line in requires("nyx-hf") or []:
        extra = _EXTRA.search(line)
        if extra:
            extras.setdefault(extra[1], []).append(Requirement(line))
        else:
            needed.append(Requirement(line))
    return needed, extras


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}, nyx_hf {__version__}"
    return Finding("packages", "python", "ok", found)


def _package(group: str, requirement: Requirement) -> Finding:
    wanted = f"pip install '{requirement.name}{requirement.specifier}'"
    try:
        found = version(requirement.name)
    except PackageNotFoundError:
        return Finding(group, requirement.name, "broken", "not installed", wanted)
    if not requirement.specifier.contains(found, prereleases=True):
        return Finding(group, requirement.name, "broken", f"{found}, but {requirement.specifier} is needed", wanted)
    return Finding(group, requirement.name, "ok", found)


def _torch() -> list[Finding]:
    """Finds the device that would be used, and whether it computes in bfloat16."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return [Finding("torch", "import", "broken", _short(error), "pip install --force-reinstall torch")]
    if torch.cuda.is_available():
        device, detail = (
            "cuda",
            f"{torch.cuda.device_count()} × {torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}",
        )
    elif torch.backends.mps.is_available():
        device, detail = "mps", "Apple GPU"
    else:
        device, detail = "cpu", f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    try:
        ones = torch.ones(2, 2, dtype=torch.bfloat16, device=device)
        bf16 = Finding("torch", "bfloat16", "ok", "yes" if (ones @ ones).sum().item() == 8 else "wrong results")
    except RuntimeError as error:
        bf16 = Finding("torch", "bfloat16", "missing", _short(error), "train with fp16 or fp32")
    return [Finding("torch", "device", "ok", f"{device}: {detail}"), bf16]


def _torchvision() -> Finding:
    """A torchvision that is there but does not load breaks every image model of transformers; none at all is fine."""
    try:
        found = version("torchvision")
    except PackageNotFoundError:
        return Finding("torch", "torchvision", "missing", "only stock image processors need it; ours use Pillow")
    try:
        import_module("torchvision")
    except (ImportError, OSError, RuntimeError) as error:
        remedy = "pip uninstall torchvision, or install the release that matches torch"
        return Finding("torch", "torchvision", "broken", f"{found} does not load ({_short(error)})", remedy)
    return Finding("torch", "torchvision", "ok", found)


def _hub(online: bool) -> list[Finding]:
    """Finds the Hub's address and whether there is a token; the token itself is never shown."""
    from huggingface_hub import HfApi, constants, get_token
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    from nyx_hf.hub import NETWORK_ERROR

    offline = " (HF_HUB_OFFLINE is set: nothing is asked)" if constants.HF_HUB_OFFLINE else ""
    findings = [Finding("hub", "endpoint", "ok", f"{constants.ENDPOINT}{offline}")]
    if not get_token():
        return [*findings, Finding("hub", "login", "missing", "no token", "hf auth login, or set HF_TOKEN")]
    if not online:
        return [*findings, Finding("hub", "login", "ok", "a token is there; --online asks the Hub whose it is")]
    try:
        who = HfApi().whoami()
    except OfflineModeIsEnabled:
        return [*findings, Finding("hub", "login", "missing", "cannot be asked offline", "unset HF_HUB_OFFLINE")]
    except HfHubHTTPError as error:
        return [
            *findings,
            Finding("hub", "login", "broken", f"refused ({error.response.status_code})", "hf auth login"),
        ]
    except NETWORK_ERROR as error:
        remedy = "check the network, HF_ENDPOINT and proxies"
        return [*findings, Finding("hub", "login", "broken", f"no answer ({type(error).__name__})", remedy)]
    return [*findings, Finding("hub", "login", "ok", f"logged in as {who['name']}")]


def _extra(name: str, packages: list[Requirement]) -> Finding:
    """Finds whether everything of an extra is there."""
    findings = [_package("extras", requirement) for requirement in packages]
    lacking = [finding for finding in findings if finding.status != "ok"]
    if not lacking:
        return Finding("extras", name, "ok", ", ".join(f"{finding.name} {finding.detail}" for finding in findings))
    what = ", ".join(f"{finding.name} {finding.detail}" for finding in lacking)
    return Finding("extras", name, "missing", what, f"pip install 'nyx-hf[{name}]'")


def _short(error: BaseException) -> str:
    """The first line of an error, cut to what fits a terminal."""
    line = (str(error).splitlines() or [""])[0]
    return f"{type(error).__name__}: {line[:100]}"
