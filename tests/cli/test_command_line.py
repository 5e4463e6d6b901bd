"""The command line: facts on standard output, mistakes in one line on standard error, exit 0, 1 or 2."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tidings.cli import run
from tidings.sandbox.server import Sandbox

Tidings = Callable[..., tuple[int, str, str]]
Command = Callable[..., "subprocess.CompletedProcess[str]"]


def test_importing_the_command_line_imports_neither_airflow_nor_databases_nor_rich() -> None:
    code = "import sys, tidings.cli; print(*sorted({name.split('.')[0] for name in sys.modules}))"

    loaded = set(
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    )

    assert "typer" in loaded
    assert loaded.isdisjoint({"airflow", "sqlalchemy", "duckdb", "rich", "pydantic", "jinja2", "yaml"})


def test_a_good_project_is_checked_in_the_installed_command(command: Command) -> None:
    done = command("check")

    assert done.stderr == ""
    assert done.stdout.splitlines()[:4] == [
        "  ok     tidings.yaml",
        "  ok     warehouse.yaml",
        "  ok     triggers/cart.yaml",
        "         needs product_events, orders",
    ]
    assert done.stdout.splitlines()[-1] == "No errors. 2 are ready."
    assert done.returncode == 0


def test_check_tells_every_mistake_and_ends_with_what_is_stopped(shop: Path, tidings: Tidings) -> None:
    path = shop / "triggers/win_back.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("lapse: 90d", 'lapse: "90"'), encoding="utf-8")
    letter = shop / "message_templates/cart_abandonment/reminder.mjml"
    letter.write_text(letter.read_text(encoding="utf-8").replace("item_count", "item_cuont"), encoding="utf-8")

    code, out, _ = tidings("check")

    assert code == 1
    lines = out.splitlines()
    at = lines.index("  error  triggers/win_back.yaml")
    assert lines[at + 1] == '         detect.lapse (line 2): must be a duration such as "90d" or "1h"; found "90"'
    assert "  error  message_templates/cart_abandonment/reminder.mjml" in lines
    assert re.search(r'line \d+: no such variable; found "item_cuont", did you mean "item_count"\?', out)
    assert re.match(r"\d+ errors\. cart and win_back are stopped; 0 are ready\.$", lines[-1])


def test_check_holds_the_mapping_against_the_real_tables(shop: Path, tidings: Tidings) -> None:
    path = shop / "warehouse.yaml"
    mapped = "orders: {columns: {order_id: order_id, customer_id: custmer, ordered_at: ordered_at}}"
    path.write_text(path.read_text(encoding="utf-8").replace("orders: {}", mapped), encoding="utf-8")

    code, out, _ = tidings("check")

    assert code == 1
    told = "tables.orders.columns.customer_id: must be a column of the shop's table"
    assert f'         {told}; found no "custmer" (did you mean "customer_id"?)' in out.splitlines()


def test_check_as_json_lists_the_same_mistakes(shop: Path, tidings: Tidings) -> None:
    path = shop / "triggers/win_back.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("lapse: 90d", "lapce: 90d"), encoding="utf-8")

    code, out, _ = tidings("check", "--json")

    assert code == 1
    found = json.loads(out)
    assert (found["problems"], found["ready"], found["stopped"]) == (1, ["cart"], ["win_back"])
    assert found["mistakes"] == [
        {"file": "triggers/win_back.yaml", "field": "detect.lapce", "line": 2, "rule": "is not a known key",
         "found": None, "nearest": "lapse"},
    ]  # fmt: skip


def test_check_live_names_what_cannot_be_reached(tidings: Tidings) -> None:
    code, out, _ = tidings("check", "--live")

    assert code == 1
    assert "  error  ledger" in out.splitlines()
    assert "run `tidings migrate`" in out

    assert tidings("migrate")[0] == 0
    assert tidings("check", "--live")[0] == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["chek"], 'tidings: no such command \'chek\'; did you mean \'check\'?'),
        (["check", "--nope"], "tidings check: no such option: --nope; see `tidings check --help`"),
        (["detect"], "tidings detect: missing argument 'CAMPAIGN'; see `tidings detect --help`"),
        (["detect", "cartt"], 'campaign: must be one of triggers/; found "cartt"; did you mean "cart"?'),
        (["detect", "cart", "--as-of", "monday"],
         '--as-of: must be a time such as 2026-03-02T09:00Z; found "monday"'),
        (["preview", "cart", "remindr"],
         'cart: step must be reminder or last_chance; found "remindr"; did you mean "reminder"?'),
        (["pause", "channel:smss"], 'channel: must be email or sms; found "smss"; did you mean "channel:sms"?'),
    ],
    ids=["command", "option", "argument", "campaign", "time", "step", "channel"],
)  # fmt: skip
def test_a_mistake_is_one_line_on_standard_error(words: list[str], told: str, tidings: Tidings) -> None:
    assert tidings(*words) == (2, "", told + "\n")


def test_a_mistake_has_no_traceback_in_the_installed_command(command: Command) -> None:
    done = command("detect", "cartt")

    told = 'campaign: must be one of triggers/; found "cartt"; did you mean "cart"?\n'
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)


def test_a_folder_that_is_no_project_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["check", "--project", str(tmp_path)])

    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert lines[:2] == ["  error  tidings.yaml", "         must exist; found no such file"]
    assert lines[-1] == "3 errors. 0 are ready."


def test_a_broken_campaign_is_told_by_whatever_asks_for_it(shop: Path, tidings: Tidings) -> None:
    path = shop / "triggers/cart.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("idle: 1h", "idle: soon"), encoding="utf-8")

    code, out, err = tidings("detect", "cart")

    assert (code, out) == (2, "")
    assert err == ('triggers/cart.yaml: detect.idle (line 3): must be a duration such as "90d" or "1h"; found "soon"\n')


def test_detect_counts_and_names_people_by_id_only(tidings: Tidings) -> None:
    code, out, _ = tidings("detect", "cart")

    assert code == 0
    assert re.search(r"^found +2  \(2 customers\)$", out, re.MULTILINE)
    assert re.search(r"^c1 .* lamp$", out, re.MULTILINE)
    assert out.splitlines()[-1] == "Nothing was written."
    assert "@" not in out
    assert "Ann" not in out


def test_detect_as_json_gives_the_window_and_the_count(tidings: Tidings) -> None:
    found = json.loads(tidings("detect", "cart", "--json")[1])

    assert (found["campaign"], found["count"], found["customers"]) == ("cart", 2, 2)
    assert found["start"] < found["end"]


def test_a_preview_shows_the_words_and_writes_nothing(shop: Path, tidings: Tidings) -> None:
    code, out, err = tidings("preview", "cart", "reminder", "--customer", "c1", "--out", str(shop / "mail.html"))

    assert (code, err) == (0, "")
    assert "subject    " in out
    assert "Kajo lamp" in out
    assert "Nothing was sent." in out.splitlines()[-1]
    assert "Kajo lamp" in (shop / "mail.html").read_text(encoding="utf-8")
    assert not (shop / ".tidings/ledger.sqlite").exists()


def test_a_preview_of_a_text_counts_its_segments_with_the_plain_link_this_person_gets(tidings: Tidings) -> None:
    code, out, _ = tidings("preview", "cart", "last_chance", "--customer", "c1")

    assert code == 0
    assert re.search(r"^2 segments, GSM-7\. Nothing was sent\.$", out, re.MULTILINE)


def test_a_preview_of_somebody_who_does_not_qualify_is_a_mistake(tidings: Tidings) -> None:
    code, _, err = tidings("preview", "cart", "reminder", "--customer", "c9")

    assert (code, err) == (2, 'cart: customer "c9" must have qualified in the last 60 days; found none\n')


def test_a_test_message_goes_to_the_allow_list_only_and_is_marked(shop: Path, tidings: Tidings) -> None:
    refused = tidings("send-test", "cart", "reminder", "--to", "ann@post.example")
    code, out, _ = tidings("send-test", "cart", "reminder", "--to", "me@fenmark.example")

    assert (refused[0], refused[2]) == (2, "--to: must be on allow_list in tidings.yaml; found another address\n")
    assert code == 0
    assert "marked as a test, not counted" in out
    kept = (shop / ".tidings/outbox-email.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(kept) == 1
    assert "[Test] " in kept[0]


def test_plan_then_explain_tells_each_gate(shop: Path, tidings: Tidings) -> None:
    with (shop / "tidings.yaml").open("a", encoding="utf-8") as settings:
        settings.write("providers: {email: {name: sendgrid, base_url: http://127.0.0.1:8095}}\n")
    assert tidings("migrate")[0] == 0

    code, out, err = tidings("plan", "cart")
    again = tidings("plan", "cart")[1]
    told = tidings("explain", "c2")[1]

    assert (code, err) == (0, "")
    assert re.search(r"^found +2  \(2 new, 0 known\)$", out, re.MULTILINE)
    assert re.search(r"^not planned +1  no_address 1$", out, re.MULTILINE)
    assert out.splitlines()[-1] == "2 new × 2 steps = 4 = 3 + 1. Written to the ledger."
    assert re.search(r"^found +2  \(0 new, 2 known\)$", again, re.MULTILINE)
    assert again.splitlines()[-1] == "Nothing new."
    lines = told.splitlines()
    assert re.match(r"  reminder \(e-mail\)  due .*  planned$", lines[2])
    assert "    no   consent        none found" in lines
    assert "    -    quiet hours    not reached" in lines
    assert "    No address for this channel" in lines
    assert lines[-1].startswith("1 entry. Times are those of Europe/Helsinki")


def test_one_step_and_one_answer_are_said_once(tidings: Tidings) -> None:
    tidings("migrate")

    lapsed = datetime.now(UTC) - timedelta(days=109)
    planned = tidings("plan", "win_back", "--as-of", lapsed.strftime("%Y-%m-%dT%H:%MZ"))[1]

    assert planned.splitlines()[-1] == "1 new × 1 step = 1. In the space of dry runs: nothing will be sent."


def test_explain_of_a_stranger_says_so(tidings: Tidings) -> None:
    tidings("migrate")

    code, out, _ = tidings("explain", "nobody")

    assert (code, out.splitlines()) == (
        0, ["nobody is not in the customer table.", "No campaign has found nobody."]
    )  # fmt: skip


def test_a_pause_is_let_go_by_resume(tidings: Tidings) -> None:
    tidings("migrate")

    assert tidings("pause", "cart")[1] == "paused  campaign:cart. `tidings resume cart` lets go.\n"
    assert tidings("resume", "cart")[1] == "campaign:cart goes on.\n"
    assert tidings("resume", "cart")[1] == "campaign:cart was not stopped.\n"
    assert tidings("pause", "provider:twilio")[0] == 0


def test_a_ledger_without_tables_names_the_command(tidings: Tidings) -> None:
    code, _, err = tidings("plan", "cart")

    assert code == 2
    assert re.fullmatch(r"ledger .*; run `tidings migrate`\n", err)


def test_an_approval_lets_a_large_first_audience_in(shop: Path, tidings: Tidings) -> None:
    path = shop / "triggers/cart.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "max_initial_audience: 1\n", encoding="utf-8")
    tidings("migrate")

    first = tidings("plan", "cart")
    approved = tidings("approve", "cart")
    second = tidings("plan", "cart")

    assert first[:2] == (1, "waiting  2 would enter at once. `tidings approve cart` lets them.\n")
    assert approved[1] == "cart is approved: 2 may enter with the next run.\n"
    assert second[0] == 0


def test_help_has_no_boxes_and_fits_96_columns(command: Command) -> None:
    for words in ((), ("--help",), ("check", "--help"), ("report", "--help")):
        done = command(*words)

        assert done.returncode == 0
        assert max(len(line) for line in done.stdout.splitlines()) <= 96
        assert not set("│╭╰─┃") & set(done.stdout)


def test_dispatch_says_what_became_of_what_was_due(
    shop: Path, tidings: Tidings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shop / "tidings.yaml"
    night = "quiet_hours: {email: null}\n"
    monkeypatch.setenv("AIRFLOW_CONN_SENDGRID", '{"conn_type": "tidings_sendgrid", "password": "SG.cli"}')
    with Sandbox() as sandbox:
        provider = f"providers: {{email: {{name: sendgrid, base_url: {sandbox.url}}}}}\n"
        text = path.read_text(encoding="utf-8").split("allow_list:")[0] + night + provider
        path.write_text(text, encoding="utf-8")
        tidings("migrate")
        tidings("plan", "cart")

        code, out, err = tidings("dispatch", "--for", "20")
        again = tidings("dispatch", "--for", "20")[1]

    assert (code, err) == (0, "")
    assert re.search(r"^sent +1$", out, re.MULTILINE)
    assert re.search(r"^skipped +1  no_consent 1$", out, re.MULTILINE)
    assert out.splitlines()[-1] == "2 were due."
    assert again.splitlines()[-1] == "Nothing was due."


def test_a_dry_dispatch_sends_nothing_of_what_a_dry_plan_found(shop: Path, tidings: Tidings) -> None:
    path = shop / "tidings.yaml"
    path.write_text(path.read_text(encoding="utf-8") + "quiet_hours: {email: null}\n", encoding="utf-8")
    tidings("migrate")
    tidings("plan", "cart", "--dry-run")

    code, out, err = tidings("dispatch", "--dry-run", "--for", "20")

    assert (code, err) == (0, "")
    assert re.search(r"^sent +1$", out, re.MULTILINE)
    assert out.splitlines()[-2:] == ["2 were due.", "In the space of dry runs: nothing left."]
    assert tidings("dispatch", "--for", "20")[1].splitlines()[-1] == "Nothing was due."


def test_check_says_that_a_live_campaign_waits_while_its_provider_is_the_outbox(
    shop: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["check", "--project", str(shop)])

    told = capsys.readouterr().out
    assert "cart is live, but its e-mails wait: providers.email is the outbox" in " ".join(told.split())
    assert "win_back is live" not in told
