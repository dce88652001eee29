# SPDX-License-Identifier: Apache-2.0
"""A whole small cloud on loopback: token service, KMS, Vulnerability Advisor, registry.

For trying imgsec, for its tests and for its demo. Production code never imports this package;
it reaches the sandbox as it reaches the real services, by address and credentials. The sandbox
in turn shares no wire code with the adapters, so that two readings of an API disagree aloud.

Start one with ``imgsec sandbox``, or from Python with `imgsec.sandbox.lifecycle.running_sandbox`.
Everything in it is throw-away: it keeps secrets in plain files and must never hold real ones.
"""
