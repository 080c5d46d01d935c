"""Which values count as secrets because of the name before them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.training.named_secrets import replace_named_secrets
from tasks.training.redaction import Redactor

NAUGHTY = Path(__file__).parents[3] / "../shared/data/weird/blns.json"


def redacted(text: str) -> str:
    return replace_named_secrets(text, "[KEY]")[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("password=hunter2", "password=[KEY]"),
        ("PGPASSWORD=letmein psql", "PGPASSWORD=[KEY] psql"),
        ("passwd: swordfish\nuser: ada", "passwd: [KEY]\nuser: ada"),
        ("passwd: hunter2, user: ada", "passwd: [KEY], user: ada"),
        ("My password: Password123.", "My password: [KEY]."),
        ("password: 12345678", "password: [KEY]"),
        ('api_key="abcd1234efgh"', 'api_key="[KEY]"'),
        ("API key: 9f8e7d6c5b4a", "API key: [KEY]"),
        ("secret: s3cr3t!value", "secret: [KEY]"),
        ('{"password": "hunter2", "clientSecret":"ab12cd34"}', '{"password": "[KEY]", "clientSecret":"[KEY]"}'),
        (r'"{\"password\": \"hunter2\"}"', r'"{\"password\": \"[KEY]\"}"'),
        (r'password = "two\"parts1"', 'password = "[KEY]"'),
        ("config['password'] = 'correcthorse'", "config['password'] = '[KEY]'"),
        ('password: str = "hunter2"', 'password: str = "[KEY]"'),
        ("**Password:** hunter2", "**Password:** [KEY]"),
        ("Server=db;Password=letmein;Encrypt=no", "Server=db;Password=[KEY];Encrypt=no"),
        ("https://example.org/?token=abcd1234&page=1", "https://example.org/?token=[KEY]&page=1"),
        ("SMTP_PASS=x9y8z7", "SMTP_PASS=[KEY]"),
        ("AWS_SECRET_ACCESS_KEY=abcd1234efgh", "AWS_SECRET_ACCESS_KEY=[KEY]"),
        ("password: dGVzdA==", "password: [KEY]"),
        ("(user: ada, password: hunter2)", "(user: ada, password: [KEY])"),
        ('curl -H "Authorization: Bearer abc123"', 'curl -H "Authorization: Bearer [KEY]"'),
        ("Authorization: Basic YWRtaW46cGFzc3dvcmQ=", "Authorization: Basic [KEY]"),
        ("It sends Bearer abc123.", "It sends Bearer [KEY]."),
        ("postgres://ada:letmein@localhost/forum", "postgres://ada:[KEY]@localhost/forum"),
        ("İİİ Password=Letmein1", "İİİ Password=[KEY]"),
    ],
)
def test_the_value_goes_and_its_name_stays(text: str, expected: str) -> None:
    assert replace_named_secrets(text, "[KEY]") == (expected, expected.count("[KEY]"))


@pytest.mark.parametrize(
    "text",
    [
        "the password is required",
        "password:",
        "password: \nThen go on.",
        "Password: required",
        "password: Forgotten",
        "password: username/email",
        "password: 8-64 characters",
        "password: see https://example.org/reset1",
        'password: "Enter your password 1"',
        "passwords: 3 tips for 2024",
        "The secret: practice",
        "password = get_password()",
        'password = os.environ["PASSWORD_1"]',
        "password=password",
        "connect(user=user, password=password1)",
        "login(password=given)",
        "password=self.password2",
        "secret = settings.DB1.secret2",
        "password: str = None",
        "interface User { password: string; token: Token }",
        '"password": {"type": "string"}',
        '"type": "password", "secret": null',
        '<input type="password" name="password" placeholder="Enter">',
        "password=$PASSWORD1",
        'password="${DB_PASSWORD1}"',
        "password: {{ vault.password1 }}",
        'api_key="YOUR_API_KEY"',
        'api_key="sk-...1a2b"',
        "password: ********",
        "password=xxxxxxxx",
        "PWD=/home/ada2",
        "max_tokens=102400, total_tokens: 123456789",
        'tokenizer.pad_token="<pad1234>"',
        "Bearer of news",
        "Bearer authentication, bearer tokens",
        "Authorization: Bearer <token1>",
        "Authorization: Bearer YOUR_TOKEN",
        "redis://:password@host:6379/1",
        "https://example.org:8080/ada@home",
        "password: [KEY]",
        'password="[KEY]", Bearer [KEY], ://ada:[KEY]@localhost',
    ],
)
def test_variables_words_and_templates_stay(text: str) -> None:
    assert replace_named_secrets(text, "[KEY]") == (text, 0)


def test_they_are_counted_as_keys_once_each() -> None:
    redactor = Redactor()
    given = "api_key=sk-abcdefghijklmnopqrst, password='ada@example.org' for ada@example.org"
    assert redactor.redact(given) == "api_key=[KEY], password='[KEY]' for [EMAIL]"
    assert redactor.counts == {"key": 2, "email": 1}


def test_json_stays_json() -> None:
    given = {"password": 'quo"ted\\1', "nested": json.dumps({"secret": "ab12cd34", "note": "kept"})}
    left = json.loads(redacted(json.dumps(given)))
    assert left == {"password": "[KEY]", "nested": json.dumps({"secret": "[KEY]", "note": "kept"})}


@pytest.mark.parametrize(
    "begun",
    ["password=", 'password="', "password: ", "Bearer ", "://a:", "password='\\", "_pass" + " " * 19, "token: a.a"],
)
def test_a_hostile_megabyte_takes_no_longer_than_another(begun: str) -> None:
    text = begun * (1_000_000 // len(begun))  # looked at from each to the end, it would take hours
    assert len(redacted(text)) <= len(text)


@pytest.mark.parametrize(
    "value", ["<" * 999_999, "a." * 500_000, '\\"' * 500_000, "a1" * 500_000, "\\" * 400_000 + '"' + "\\" * 500_000]
)
def test_a_hostile_value_takes_no_longer_than_another(value: str) -> None:
    assert redacted(f'password="x{value}').startswith('password="')
    assert redacted(f"password='x{value}'").startswith("password='")
    assert redacted(f"password={value}").startswith("password=")


PARTS = (
    *("password", "_pass", "secret", "api_key", "token", "Bearer ", "://a:", "Authorization: Basic "),
    *("=>", " = ", "hunter2", "letmein", "a.b", "[KEY]", "str", "…", "İ", "ada@example.org"),
    *"=:\"'\\<(),. $1x_@\n",
)


@settings(max_examples=200)
@given(st.lists(st.sampled_from(PARTS), max_size=14).map("".join))
def test_what_was_redacted_has_nothing_left_to_redact(text: str) -> None:
    once = redacted(text)
    assert replace_named_secrets(once, "[KEY]") == (once, 0)


def test_naughty_strings_stay_beside_a_secret() -> None:
    if not NAUGHTY.is_file():
        pytest.skip("needs ../shared/data/weird/blns.json, the list of naughty strings")
    for naughty in json.loads(NAUGHTY.read_text()):
        assert redacted(f"{naughty}\npassword=hunter2\n{naughty}") == f"{naughty}\npassword=[KEY]\n{naughty}"
