"""Keys are put together here, so that no line of this file looks like one to a scanner."""

import random
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.policy.dlp.credentials import readers
from broker.policy.dlp.scanning import Pattern
from broker.policy.dlp.spans import Kind, Span
from tests.unit.broker.policy.dlp.marked import FINDER, judge

ALNUM = string.ascii_letters + string.digits
URL_SAFE = ALNUM + "-_"
HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + string.digits
LOWER = string.ascii_lowercase + string.digits


def made_up(size: int) -> str:
    """Letters and digits, always the same."""
    return "".join(random.Random(size).choices(ALNUM, k=size))


FORMATS = [
    ("sk-", ALNUM, 48),
    ("sk-" + "proj-", URL_SAFE, 120),
    ("sk-" + "svcacct-", URL_SAFE, 60),
    ("sk-" + "ant-api03-", URL_SAFE, 95),
    ("sk-" + "or-v1-", HEX, 64),
    ("gsk_", ALNUM, 52),
    ("xai-", ALNUM, 80),
    ("hf_", ALNUM, 34),
    ("AKI" + "A", UPPER, 16),
    ("ASI" + "A", UPPER, 16),
    ("ghp_", ALNUM, 36),
    ("gho_", ALNUM, 36),
    ("github_" + "pat_", ALNUM + "_", 82),
    ("glpat-", URL_SAFE, 20),
    ("npm_", ALNUM, 36),
    ("pypi-" + "AgEIcHlwaS5vcmc", URL_SAFE, 130),
    ("dckr_" + "pat_", URL_SAFE, 27),
    ("AIz" + "a", URL_SAFE, 35),
    ("GOCSPX-", URL_SAFE, 28),
    ("ya29.", URL_SAFE, 60),
    ("dop_v1_", HEX, 64),
    ("dapi", HEX, 32),
    ("hvs.", URL_SAFE, 90),
    ("sk_" + "live_", ALNUM, 24),
    ("rk_" + "test_", ALNUM, 24),
    ("whsec_", ALNUM, 32),
    ("shpat_", HEX, 32),
    ("xox" + "b-123456789012-123456789012-", ALNUM, 24),
    ("xapp-" + "1-A0123456789-1234567890123-", HEX, 64),
    ("SK", HEX, 32),
    ("lin_api_", ALNUM, 40),
    ("NRAK-", UPPER, 27),
    ("abc8Q~", ALNUM, 34),
    ("glpat-" + made_up(27) + ".01.", LOWER, 9),
    ("fw_", ALNUM, 24),
    ("sess-", ALNUM, 40),
    ("tvly-" + "dev-", ALNUM, 32),
    ("fc-", HEX, 32),
    ("pcsk_" + "a1B2c_", ALNUM, 63),
    ("jina_", ALNUM, 60),
    ("pa-", URL_SAFE, 43),
    ("wandb_v1_", ALNUM, 60),
    ("esecret_", ALNUM, 26),
    ("app-", ALNUM, 24),
    ("key_", HEX, 64),
    ("e2b_", HEX, 40),
    ("apify_api_", ALNUM, 36),
    ("cio", ALNUM, 32),
    ("AKCp", ALNUM, 69),
    ("sgp_" + "0123456789abcdef_", HEX, 40),
    ("bkua_", HEX, 40),
    ("CCIPAT_" + made_up(22) + "_", HEX, 40),
    ("sqp_", HEX, 40),
    ("pat." + made_up(22) + "." + made_up(24) + ".", ALNUM, 20),
    ("FlyV1 fm2_", ALNUM + "+/", 160),
    ("ABSK", ALNUM + "+/", 120),
    ("vcp_", ALNUM, 56),
    ("nfp_", ALNUM, 36),
    ("rnd_", ALNUM, 32),
    ("pul-", HEX, 40),
    ("pnu_", ALNUM, 36),
    ("cfut_", ALNUM, 48),
    ("napi_", LOWER, 64),
    ("ddp_", ALNUM, 36),
    ("sk." + "eyJ1" + made_up(80) + ".", ALNUM, 22),
    ("EZAK", ALNUM, 54),
    ("duffel_" + "live_", URL_SAFE, 43),
    ("mlsn.", HEX, 64),
    ("EAA", ALNUM, 160),
    ("ops_" + "eyJ", ALNUM, 250),
    ("dt0c01." + made_up(24).upper() + ".", UPPER, 64),
    ("pat-na1-01234567-89ab-cdef-0123-", HEX, 12),
    ("aio_", ALNUM, 28),
    ("tfp_", URL_SAFE, 44),
    ("rdme_", LOWER, 70),
    ("s-s4t2ud-", HEX, 64),
    ("pk_" + "12345678_", UPPER, 32),
]


def made(prefix: str, alphabet: str, size: int, seed: int) -> str:
    picked = random.Random(f"{prefix}{seed}").choices(alphabet, k=size)
    return prefix + "".join(picked[:-1]) + "7"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("prefix", "alphabet", "size"), FORMATS)
def test_a_provider_s_key_is_found_whole_in_prose(prefix: str, alphabet: str, size: int, seed: int) -> None:
    key = made(prefix, alphabet, size, seed)
    text = f"I use {key}, is that right?"
    assert FINDER.find(text) == (Span(6, 6 + len(key), Kind.SECRET),)


@pytest.mark.parametrize("prefix", ["sk-", "ghp_", "hf_", "glpat-", "sk_" + "live_"])
def test_a_placeholder_with_a_provider_s_prefix_is_no_key(prefix: str) -> None:
    judge(f"{prefix}{'x' * 40} and {prefix}your-key-goes-here-1234567890")


@pytest.mark.parametrize(
    "text",
    [
        "an app-ropriately-named-directory and app-router, fc-league and key_value_store_of_the_year_2024",
        "pa-system-for-the-annual-meeting-of-shareholders",
        "pat-na1-is-the-region; rnd_seed_of_the_experiment_number_7 = 7",
        "vcp_helper_function_for_tests, cf-ray, dd-wrt, aio_pika, napi_env_create_reference_of_the_addon",
        "https://example.com/sess-ion/EAAT and FlyV1 is a scheme",
        "cioppino, ciospecificationsofthecompanyfor2024",
    ],
)
def test_names_that_begin_like_keys_are_none(text: str) -> None:
    judge(text)


@pytest.mark.parametrize(
    "marked",
    [
        "login joe, password «SECRET:SaWl7d*Ubo11sFuW».",
        "the password `«SECRET:hunter2x»` is his",
        "Passwort «SECRET:qL9!vexGh2», danke",
        "password protected, password Windows10, password requirements: 8-12 characters",
        "the password `must_be_long` or `short`, pwd /usr/local/bin2go",
    ],
)
def test_a_password_that_is_said_without_a_sign_has_to_look_like_one(marked: str) -> None:
    judge(marked)


JWT = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
SENDGRID = ".".join(["SG", made("", URL_SAFE, 22, 1), made("", URL_SAFE, 43, 2)])
HOOK = "https://hooks.slack.com/" + "services/T00000000/B00000000/" + made("", ALNUM, 24, 3)
BODY = made("MII", ALNUM + "+/", 61, 4)
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n{BODY}\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    "marked",
    [
        f"token «SECRET:{JWT}» x",
        f"«SECRET:{SENDGRID}»",
        f"post to «SECRET:{HOOK}».",
        f"mine:\n«SECRET:{PEM}»\nis it safe?",
        "k: «SECRET:" + PEM.replace("\n", "\\n") + "»\\n",
        f"cut off «SECRET:-----BEGIN EC PRIVATE KEY-----\n{BODY}»\nplease help",
        "aws_secret_access_key = «SECRET:wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»",
        "«SECRET:AKIAIOSFODNN7EXAMPLE»,«SECRET:wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY»",
        "password: «SECRET:Tr0ub4dor&3»",
        "login?user=a&password=«SECRET:Tr0ub4dor3»&next=home",
        "my password is «SECRET:hunter22».",
        '"password": "«SECRET:S3cr3t!pass»"',
        '{\\"password\\": \\"«SECRET:S3cr3t!pass»\\"}',
        "DB_PASS='«SECRET:p@ssw0rd9»'",
        "Passwort: «SECRET:Sommer2024!»",
        "--password «SECRET:Zx81!kkQ0p»",
        "postgres://app:«SECRET:s3cr3tPw9»@db.example.com/x",
        "Authorization: Basic «SECRET:dXNlcjpwYXNzd29yZDEyMw==»",
        f"curl -H 'Authorization: Bearer «SECRET:{made('', HEX, 32, 5)}»' https://api.example.com",
        f"AccountName=x;AccountKey=«SECRET:{made('', ALNUM, 86, 6)}==»;",
        f"x-api-key: «SECRET:{made('', HEX, 32, 7)}»",
        f"the api key is «SECRET:{made('', HEX, 32, 8)}»",
        f"export API_TOKEN=«SECRET:{made('', ALNUM, 40, 9)}»",
        f"AZURE_OPENAI_KEY=«SECRET:{made('', HEX, 32, 10)}»",
        f"https://x.example/blob?sr=b&sig=«SECRET:{made('', ALNUM, 43, 11)}%3D»&se=2024",
        f"my key: «SECRET:{made('', HEX, 32, 14)}»",
        f"use token «SECRET:{made('', ALNUM, 40, 15)}» to log in",
        "SECRET_KEY = '«SECRET:django-insecure-9f8h3k2l1m5n7p8q»'",
    ],
)
def test_a_secret_is_found_whole(marked: str) -> None:
    judge(marked)


@pytest.mark.parametrize(
    "text",
    [
        "Use your_api_key_here",
        "password: required",
        "password=getpass.getpass()",
        "password = user.password2",
        "token = tokenizer.encode(text)",
        "api_key=os.environ['OPENAI_API_KEY']",
        "api_key: os.environ/OPENAI_API_KEY2",
        "api_key: ${API_KEY}",
        "password: <password>",
        "password: ********",
        "password is incorrect",
        "Forgot password? Click here: https://example.com/reset1",
        "The password must be 8-16 characters",
        "max_tokens: 4096, token count: 12345, token: 123456",
        "the secret is out",
        "Bearer token authentication is required",
        "Bearer YOUR_ACCESS_TOKEN_HERE",
        "secret_name: prod/db/password",
        "secret: kubernetes-secret-name",
        f"CACHE_KEY={made('', HEX, 32, 12)} PUBLIC_KEY={made('', HEX, 32, 13)}",
        f'{{"key": "{made("", HEX, 32, 16)}", "cache key": "{made("", HEX, 32, 17)}"}}',
        f"public key: {made('', ALNUM, 40, 18)}, idempotency key {made('', HEX, 32, 19)}",
        "PublicKeyToken=31bf3856ad364e35",
        "sk-learn-pipeline-for-classification",
        "keyboard_interrupt_handler_function_name_1",
        "sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "md5 d41d8cd98f00b204e9800998ecf8427e",
        "uuid 123e4567-e89b-12d3-a456-426614174000",
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk",
        "integrity sha512-abc123def456ghi789jkl012mno345pqr678stu901vwx234yz==",
        "-----BEGIN PRIVATE KEY----- is how it begins",
        f"-----BEGIN CERTIFICATE-----\n{BODY}\n-----END CERTIFICATE-----",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQC7",
        "postgres://user:password@localhost/db",
        "jwt.encode(claims, SECRET_KEY, algorithm=ALGORITHM)",
        "pk_test_" + "TYooMQauvdEDq54NiTphI7jx",
    ],
)
def test_what_only_resembles_a_secret_is_not_found(text: str) -> None:
    judge(text)


@pytest.mark.parametrize("pattern", [pattern for pattern, _ in readers().patterns])
@given(data=st.data())
def test_a_hint_stands_in_all_that_a_pattern_finds(pattern: Pattern, data: st.DataObject) -> None:
    text = data.draw(st.from_regex(re.compile(pattern.pattern)))
    assert pattern.search(text) is None or readers().hints.search(text) is not None
