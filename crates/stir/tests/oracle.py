"""Another implementation: certificates and lists by `cryptography`, tokens by PyJWT.

make NOW            a root, an issuer of lists, and cases with what has to be said about them
check KEY TOKEN     header and claims of a token that verifies, else null
special FILE        of the addresses in a file, one a line, those that are not global
"""

import datetime
import ipaddress
import json
import sys

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

X5U = "https://certs.example.org/python.pem"
LIST = "https://lists.example.org/python.crl"
POLICY = x509.ObjectIdentifier("2.16.840.1.114569.1.1.3")
NUMBERS = x509.ObjectIdentifier("1.3.6.1.5.5.7.1.26")
ORIG, DEST, THIRD = "12025550100", "12025550101", "12025550102"


def name(common):
    return x509.Name([
        x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Countersign Test"),
        x509.NameAttribute(NameOID.COMMON_NAME, common),
    ])


class Entity:
    """A key with a certificate."""

    def __init__(self, common, issuer, now, *, authority=False, lists=False, numbers=None, days=(-10, 10), named=True):
        self.name = name(common)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.serial = x509.random_serial_number()
        issuer = issuer or self
        day = lambda n: now + datetime.timedelta(days=n)
        usage = dict.fromkeys([
            "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
            "encipher_only", "decipher_only", "digital_signature", "key_cert_sign", "crl_sign",
        ], False)
        usage |= {"key_cert_sign": True, "crl_sign": True} if authority else {"crl_sign": True} if lists else {"digital_signature": True}
        builder = (
            x509.CertificateBuilder().subject_name(self.name).issuer_name(issuer.name).public_key(self.key.public_key())
            .serial_number(self.serial).not_valid_before(day(days[0])).not_valid_after(day(days[1]))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
        )
        if issuer is not self:
            builder = builder.add_extension(x509.CertificatePolicies([x509.PolicyInformation(POLICY, None)]), critical=False)
            if named:
                point = x509.DistributionPoint(
                    full_name=[x509.UniformResourceIdentifier(LIST)], relative_name=None, reasons=None,
                    crl_issuer=[x509.DirectoryName(name("Test STI-PA"))],
                )
                builder = builder.add_extension(x509.CRLDistributionPoints([point]), critical=False)
        if numbers is not None:
            builder = builder.add_extension(x509.UnrecognizedExtension(NUMBERS, numbers), critical=False)
        self.certificate = builder.sign(issuer.key, hashes.SHA256())

    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def token(self, ppt, claims):
        private = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        token = jwt.encode(claims, private, algorithm="ES256", headers={"typ": "passport", "ppt": ppt, "x5u": X5U})
        return f"{token};info=<{X5U}>;alg=ES256;ppt={ppt}"


def revocation(signer, issuer_name, now, revoked, days=(-1, 1)):
    """An indirect list, with pairs of a serial number and the name of its issuer."""
    builder = (
        x509.CertificateRevocationListBuilder().issuer_name(issuer_name)
        .last_update(now + datetime.timedelta(days=days[0])).next_update(now + datetime.timedelta(days=days[1]))
        .add_extension(x509.CRLNumber(7), critical=False)
        .add_extension(x509.IssuingDistributionPoint(
            full_name=[x509.UniformResourceIdentifier(LIST)], relative_name=None, only_contains_user_certs=False,
            only_contains_ca_certs=False, only_some_reasons=None, indirect_crl=True,
            only_contains_attribute_certs=False), critical=True)
    )
    for serial, issuer in revoked:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            .add_extension(x509.CRLReason(x509.ReasonFlags.key_compromise), critical=False)
            .add_extension(x509.CertificateIssuer([x509.DirectoryName(issuer)]), critical=True).build())
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def code(text):
    return bytes([0x30, len(text) + 4, 0xA0, len(text) + 2, 0x16, len(text)]) + text.encode()


def make(now):
    at = datetime.datetime.utcfromtimestamp(now)
    root = Entity("Test Root", None, at, authority=True, days=(-1000, 1000))
    authority = Entity("Test Authority", root, at, authority=True, days=(-100, 100))
    lists = Entity("Test STI-PA", None, at, lists=True, days=(-100, 100))
    provider = Entity("SHAKEN 709J", authority, at, numbers=code("709J"))
    old = Entity("SHAKEN 709J", authority, at, numbers=code("709J"), days=(-20, -10))
    unnumbered = Entity("SHAKEN 709J", authority, at)
    stranger = Entity("Test Root", None, at, authority=True)
    rogue = Entity("SHAKEN 709J", stranger, at, numbers=code("709J"))

    def shaken(**changes):
        claims = {"attest": "A", "dest": {"tn": [DEST]}, "iat": now, "orig": {"tn": ORIG}, "origid": "6513270e-269e-4d37-b2a7-4de452e6b438"}
        return claims | changes

    empty = revocation(lists, lists.name, at, [])
    cases = []

    def case(title, expect, *, by=provider, claims=None, more=(), dest=DEST, above=authority, crl=empty, orig=ORIG):
        identity = [by.token("shaken", claims or shaken()), *more]
        found = {X5U: by.pem() + above.pem(), LIST: crl}
        cases.append({"name": title, "expect": expect, "identity": identity, "orig": orig, "dest": dest, "found": found})

    div = lambda start: provider.token("div", {"dest": {"tn": [THIRD]}, "div": {"tn": start}, "iat": now, "orig": {"tn": ORIG}})
    case("passes", "A")
    case("passes with B", "B", claims=shaken(attest="B"))
    case("diverted", "C", claims=shaken(attest="C"), more=[div(DEST)], dest=THIRD)
    case("diverted from elsewhere", "diversion", more=[div("12025550109")], dest=THIRD)
    case("stale", "stale", claims=shaken(iat=now - 61))
    case("another caller", "orig_mismatch", orig="12025550109")
    case("expired", "certificate", by=old)
    case("for no numbers", "certificate", by=unnumbered)
    case("another root of the same name", "certificate", by=rogue, above=stranger)
    case("another revoked", "A", crl=revocation(lists, lists.name, at, [(old.serial, authority.name), (provider.serial, root.name)]))
    case("revoked", "revoked", crl=revocation(lists, lists.name, at, [(old.serial, authority.name), (provider.serial, authority.name)]))
    case("the authority revoked", "revoked", crl=revocation(lists, lists.name, at, [(authority.serial, root.name)]))
    case("an old list", "revocation", crl=revocation(lists, lists.name, at, [], days=(-3, -1)))
    case("a list by somebody else", "revocation", crl=revocation(stranger, lists.name, at, []))
    return {"root": root.pem(), "list_issuer": lists.pem(), "cases": cases}


def check(key, token):
    with open(key) as file:
        public = file.read()
    try:
        claims = jwt.decode(token, public, algorithms=["ES256"], options={"verify_iat": False})
        return {"header": jwt.get_unverified_header(token), "claims": claims}
    except (jwt.PyJWTError, ValueError):
        return None


def special(path):
    with open(path) as file:
        return [line for line in file.read().split() if not ipaddress.ip_address(line).is_global]


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    answers = {"make": lambda now: make(int(now)), "check": check, "special": special}
    print(json.dumps(answers[what](*arguments)))
