"""Whether GitHub's attestation of a run lies beside its files, and of which files it is.

The GPU workflow puts it there: a Sigstore bundle that holds a signed in-toto statement with the
sums of ``manifest.json`` and ``report.json``. It is no evidence, so it is in no sum and no seal,
and nothing that is wrong with it is a damage of the run. Its signature is not checked here: that
needs Sigstore's certificates, and somebody who says which repository is to be believed.
"""

import base64
from pathlib import Path

from bench.formats.checksums import sha256_of
from bench.formats.strict_json import parse, read_object
from bench.verify.manifest import ATTESTATION, MANIFEST
from wmvla.errors import UserError

ATTESTED = (MANIFEST, "report.json")
COMMAND = f"gh attestation verify {MANIFEST} --bundle {ATTESTATION} --repo OWNER/REPOSITORY"
UNCHECKED = f"its signature was not checked here; in the run directory do: {COMMAND}"


def attestation_of(run_dir: Path) -> str:
    """What is to be said of the attestation, in one sentence."""
    try:
        bundle = read_object(run_dir / ATTESTATION)
        if bundle is None:
            return (
                f"none: there is no {ATTESTATION} beside the run, so nothing shows where it was"
                " made"
            )
        statement = parse(base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True))
        named = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
    except (UserError, ValueError, LookupError, TypeError):
        return f"{ATTESTATION} cannot be read: it is no bundle of a signed statement"
    others = [name for name in ATTESTED if _sum(run_dir / name) != named.get(name)]
    what = "does not name" if others else "names"
    files = others or ATTESTED
    are = "as they are" if len(files) > 1 else "as it is"
    return f"{ATTESTATION} {what} {' and '.join(files)} {are} here; {UNCHECKED}"


def _sum(path: Path) -> str:
    """Of a file that may not be there; then no statement's."""
    return sha256_of(path) if path.is_file() else ""
