# The standard policy of Weighhouse. Most operators never edit it: the environments and how
# strict each check is stand in the data document beside it.
package weighhouse.gate

import rego.v1

environment := data.environments[input.environment]

license := input.evidence.license.document

provenance := input.evidence.provenance.document

assessment := input.license_assessment

trust := input.trust_assessment

# The trust policy's word; without one, what the signatures prove by themselves.
trust_verdict := trust.verdict

trust_verdict := provenance.verdict if not trust.verdict

not_trusted_because := sprintf(" %s", [concat(" ", trust.notes)]) if count(trust.notes) > 0

default not_trusted_because := ""

concluded if input.license_conclusion.expression

assessed if assessment.verdict

use_reason(finding) := {
	"code": finding.code,
	"msg": sprintf("%s: %s (%s)", [finding.license, finding.clause, concat(" from ", finding.path)]),
	"evidence": "license",
	"remedy": finding.remedy,
}

said_by_facts(finding) if {
	finding.code in {"UNKNOWN_LICENSE", "LICENSE_AMBIGUOUS", "DECLARED_DETECTED_MISMATCH", "LOW_CONFIDENCE_TERMS"}
	count(finding.path) == 1
	license.verdict in {"unlicensed", "review"}
	not concluded
}

# Bytes that are dangerous or contradict themselves are refused everywhere.

deny contains reason if {
	input.evidence.inspect.document.verdict in {"dangerous", "malformed"}
	reason := {
		"code": "UNSAFE_CONTENT",
		"msg": sprintf("Inspection calls this content %s.", [input.evidence.inspect.document.verdict]),
		"evidence": "inspect",
		"remedy": "Read the findings of the inspection and push a corrected revision.",
	}
}

deny contains reason if {
	some advisory in input.advisories
	advisory.recall
	reason := {
		"code": "RECALLED",
		"msg": sprintf("This content was recalled by %s: %s", [advisory.id, advisory.summary]),
		"remedy": "Use a revision that the recall does not name.",
	}
}

warn contains reason if {
	some advisory in input.advisories
	not advisory.recall
	reason := {
		"code": "ADVISORY",
		"msg": sprintf("%s: %s", [advisory.id, advisory.summary]),
	}
}

# A signature that is wrong is worse than none.

deny contains reason if {
	trust_verdict == "invalid"
	reason := {
		"code": "INVALID_SIGNATURE",
		"msg": "A signature of this revision does not verify.",
		"evidence": "provenance",
		"remedy": "Find out who changed what; sign the revision anew or remove the signature.",
	}
}

deny contains reason if {
	trust_verdict == "revoked"
	reason := {
		"code": "REVOKED",
		"msg": sprintf("This content was revoked.%s", [not_trusted_because]),
		"evidence": "provenance",
		"remedy": "Use a revision that no revocation list names.",
	}
}

# What a trust policy only warns about, and what attestations and cards do not agree on.
warn contains reason if {
	trust_verdict == "trusted"
	count(trust.codes) > 0
	reason := {
		"code": "TRUST_NOTES",
		"msg": concat(" ", trust.notes),
		"evidence": "provenance",
	}
}

# The intended use against the license.

deny contains reason if {
	some finding in assessment.findings
	finding.severity == "deny"
	reason := use_reason(finding)
}

# Checks whose strictness each environment sets.

raised contains ["license_missing", reason] if {
	license.verdict == "unlicensed"
	not concluded
	reason := {
		"code": "NO_LICENSE",
		"msg": "No license is declared or found, so nothing is permitted by it.",
		"evidence": "license",
		"remedy": "Declare the license in the model card and add its text, or have a person record a conclusion.",
	}
}

raised contains ["license_review", reason] if {
	license.verdict == "review"
	not concluded
	reason := {
		"code": "LICENSE_REVIEW",
		"msg": sprintf("A person has to review the license (%s).", [license.concluded]),
		"evidence": "license",
		"remedy": "Read the findings of the license stage and record a reviewed conclusion.",
	}
}

# A revision without any license is said so above, once.
raised contains ["license_review", reason] if {
	some finding in assessment.findings
	finding.severity == "review"
	not said_by_facts(finding)
	reason := use_reason(finding)
}

raised contains ["license_review", reason] if {
	not assessed
	reason := {
		"code": "LICENSE_NOT_ASSESSED",
		"msg": "Nobody judged this use under the license.",
		"evidence": "license",
		"remedy": "Ask again with a release that judges uses.",
	}
}

raised contains ["license_obligations", reason] if {
	some finding in assessment.findings
	finding.severity == "obligation"
	reason := use_reason(finding)
}

raised contains ["no_trusted_signature", reason] if {
	not trust_verdict in {"trusted", "invalid", "revoked"}
	reason := {
		"code": "NO_TRUSTED_SIGNATURE",
		"msg": sprintf("No trusted signature covers this revision.%s", [not_trusted_because]),
		"evidence": "provenance",
		"remedy": concat(" ", [
			"Sign the model's folder (weighhouse sign, or model_signing sign key), push it with its model.sig or",
			"attach the signature, and have an operator list the public key under gate.trusted_keys or name",
			"the signer in the trust policy.",
		]),
	}
}

raised contains ["probe_warnings", reason] if {
	input.evidence.probe.status == "warned"
	reason := {
		"code": "PROBE_WARNINGS",
		"msg": sprintf("The model runs, with warnings: %s", [input.evidence.probe.document.reason]),
		"evidence": "probe",
		"remedy": "Read the report of the probe.",
	}
}

# What an environment asks of the probe beyond its verdict. What its data document does not name is
# not asked; what it names and a report does not show is denied.

demands := object.get(environment, "probe", {})

probe := input.evidence.probe.document

probed if is_object(probe)

# The engine itself says what is missing where the environment requires the probe.
probe_is_required if "probe" in object.get(environment, "required_evidence", [])

passed_levels := {level.level |
	some level in object.get(probe, "levels", [])
	level.status in {"passed", "warned"}
}

speeds := {speed |
	some part in ["generation", "embedding"]
	speed := probe[part].tokens_per_second
}

fully_confined if {
	probe.sandbox.landlock == "full"
	probe.sandbox.seccomp
	count(object.get(probe.sandbox, "gaps", [])) == 0
}

demand(code, msg, remedy) := {
	"code": code,
	"msg": msg,
	"evidence": "probe",
	"remedy": remedy,
	"docs": "docs/probe-operations.md#what-a-policy-can-ask",
}

deny contains reason if {
	probed
	level := demands.minimum_level
	count([passed | some passed in passed_levels; passed >= level]) == 0
	reason := demand(
		"PROBE_LEVEL_TOO_LOW",
		sprintf("The probe passed the levels {%s}, and this environment asks for %s.", [concat(", ", sort(passed_levels)), level]),
		"Read the report of the probe: it says what stopped the next level.",
	)
}

deny contains reason if {
	probed
	classes := demands.devices
	device := object.get(probe, "device", "unknown")
	not split(lower(device), ":")[0] in classes
	reason := demand(
		"PROBE_DEVICE_NOT_ALLOWED",
		sprintf("The probe ran on %s, and this environment counts %s only.", [device, concat(" or ", classes)]),
		"Probe the revision again on a worker with such a device.",
	)
}

deny contains reason if {
	probed
	least := demands.minimum_tokens_per_second
	count([speed | some speed in speeds; speed >= least]) == 0
	reason := demand(
		"PROBE_TOO_SLOW",
		sprintf("This environment asks for %v tokens per second, which the probe did not measure.", [least]),
		"Probe the revision again on a faster or less busy machine, or use a smaller or more strongly quantized model.",
	)
}

deny contains reason if {
	probed
	wanted := demands.conformance
	found := object.get(probe, "conformance", "unknown")
	found != wanted
	reason := demand(
		"PROBE_NOT_VERIFIED",
		sprintf("The engine's computation of this architecture is %s, and this environment asks for %s.", [found, wanted]),
		"Use a model of an architecture that the engine is verified for, or have the model checked otherwise and waive this.",
	)
}

deny contains reason if {
	probed
	demands.sandbox == "full"
	not fully_confined
	reason := demand(
		"PROBE_NOT_CONFINED",
		"The kernel of the machine that probed did not enforce the whole sandbox.",
		"Probe the revision again on a worker whose kernel has landlock and seccomp; the report names the gaps.",
	)
}

deny contains reason if {
	demands.max_age_days
	not probe_is_required
	input.evidence.probe.status == "stale"
	reason := demand(
		"PROBE_STALE",
		sprintf("The probe is more than %v days old.", [demands.max_age_days]),
		"Probe the revision again (weighhouse model probe).",
	)
}

deny contains reason if {
	count(demands) > 0
	not probed
	not probe_is_required
	input.evidence.probe.status != "not_applicable"
	reason := demand(
		"PROBE_MISSING",
		"This environment asks something of the probe, and there is no report.",
		"Wait until the pipeline has finished, or probe the revision again (weighhouse model probe).",
	)
}

# Environments of data files that do not know this check ignore it.
drift contains reason if {
	probed
	some finding in object.get(probe, "findings", [])
	finding.code == "FINGERPRINT_DRIFT"
	reason := demand(finding.code, sprintf("Unchanged weights gave other numbers: %s.", [finding.detail]), finding.remedy)
}

deny contains reason if {
	some reason in drift
	object.get(environment.checks, "fingerprint_drift", "ignore") == "deny"
}

warn contains reason if {
	some reason in drift
	object.get(environment.checks, "fingerprint_drift", "ignore") == "warn"
}

deny contains reason if {
	some [check, reason] in raised
	environment.checks[check] == "deny"
}

# A check that an environment forgets to set denies.
deny contains reason if {
	some [check, reason] in raised
	not environment.checks[check] in {"deny", "warn", "ignore"}
}

warn contains reason if {
	some [check, reason] in raised
	environment.checks[check] == "warn"
}

# Environments of data files that do not know this check warn.
undeclared_base contains reason if {
	some finding in input.weights_assessment.findings
	finding.code == "UNDECLARED_BASE"
	reason := {"code": finding.code, "msg": finding.detail, "evidence": "inspect", "remedy": finding.remedy}
}

deny contains reason if {
	some reason in undeclared_base
	object.get(environment.checks, "undeclared_base", "warn") == "deny"
}

warn contains reason if {
	some reason in undeclared_base
	object.get(environment.checks, "undeclared_base", "warn") == "warn"
}

warn contains reason if {
	input.evidence.inspect.document.verdict == "suspicious"
	reason := {
		"code": "SUSPICIOUS_CONTENT",
		"msg": "Inspection found something suspicious.",
		"evidence": "inspect",
		"remedy": "Read the findings of the inspection.",
	}
}
