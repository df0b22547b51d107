import pytest

from persona_env.models.endpoint import Endpoint, api_key


def test_a_model_may_hold_slashes_colons_and_at_signs():
    endpoint = Endpoint.parse("org/some-model:7b@v2@https://models.example:8443/api/v1/")
    assert endpoint == Endpoint("org/some-model:7b@v2", "https://models.example:8443/api/v1")


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        ("m@http://user:hunter2@host/v1", "user or password"),
        ("m@http://hunter2@host/v1", "user or password"),
        ("m@http://host/v1?key=hunter2", "query"),
        ("m@http://host/v1?", "query"),
        ("m@http://host/v1#hunter2", "fragment"),
        ("m@ftp://hunter2/v1", "another scheme"),
        ("m@file:///hunter2", "another scheme"),
        ("m@http:///hunter2", "without a host"),
        ("m@http://host:0/hunter2", "port 0"),
        ("m@http://host:99999/hunter2", "no URL"),
        ("m@http://[hunter2/v1", "no URL"),
        ("m@http://host/v1 hunter2", "no URL holds"),
        ("m@http://host/hunter2\r\nx: y", "no URL holds"),
        ("m@http://h\u00f6st/hunter2", "no URL holds"),
        ("@http://host/hunter2", "no model"),
        (" m@http://host/hunter2", "no model"),
        ("m\n@http://host/hunter2", "no model"),
        ("hunter2", "no @http"),
        ("m@host/hunter2", "no @http"),
    ],
)
def test_what_is_no_endpoint_is_refused_and_not_repeated(rest: str, why: str):
    with pytest.raises(ValueError, match=why) as caught:
        Endpoint.parse(rest)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_that_cannot_stand_in_a_header_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch):
    for key in ("sk hunter2", "hunter2\r\nx: y", "hunter\u00e9", "hunter2\x7f"):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        with pytest.raises(ValueError, match="OPENAI_API_KEY") as caught:
            api_key()
        assert "hunter" not in str(caught.value)
    monkeypatch.setenv("OPENAI_API_KEY", " sk-1234\n")
    assert api_key() == "sk-1234"
