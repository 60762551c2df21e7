"""`headworks policy`: the group. Its commands stand in modules that import little until they are called."""

from headworks.cli import policy_eval, policy_live, policy_revisions
from headworks.cli.groups import group

app = group(help="Policy: what may pass, tried out before it decides.")
app.command("test")(policy_revisions.check_document)
app.command("diff")(policy_revisions.diff)
app.command("activate")(policy_live.activate)
app.command("rollback")(policy_live.rollback)
app.command("shadow")(policy_live.shadow)
app.command("list")(policy_live.list_all)
app.command("show")(policy_live.show_document)
app.command("explain")(policy_live.explain)
app.command("eval")(policy_eval.evaluate)
app.command("scan")(policy_eval.scan)
