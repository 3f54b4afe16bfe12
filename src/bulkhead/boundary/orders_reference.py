"""The tables of docs/orders.md, made from ORDERS and LOCAL_POWERS."""

from bulkhead.boundary.orders import HOUR_MS, LOCAL_POWERS, NOT_REFUSABLE, ORDERS, PROVISIONED, Mode, OrderRow


def orders_table() -> str:
    """A row an action."""
    lines = [
        "| action | kind | what | parameters | executed by | signatures | passkey | wait | a day | automatic |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in ORDERS.values():
        parameters = ", ".join(f"`{name}`: {form.value}" for name, form in row.parameters.items())
        cells = (
            f"`{row.action}`", row.kind.value, row.sentence, parameters, _executors(row), quorum_text(row),
            "yes" if row.passkey else "", f"{row.wait_ms // HOUR_MS} h" if row.wait_ms else "",
            str(row.daily or ""), "yes" if row.automatic else "",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def quorum_text(row: OrderRow) -> str:
    """Who must sign."""
    counts = (("partner", row.partner), ("operator", row.operator), ("either", row.anyone))
    return " AND ".join(f"{count} of {name}" for name, count in counts if count)


def local_powers_table() -> str:
    """What the command line of the host may change, and what takes its place."""
    lines = ["| compartment | request | once `local` is `refused` |", "|---|---|---|"]
    orders: dict[tuple[str, str], list[str]] = {}
    for row in ORDERS.values():
        for effect in row.effects:
            orders.setdefault((effect.executor, effect.message), []).append(f"`{row.action}`")
    for (compartment, message), actions in orders.items():
        lines.append(f"| {compartment} | `{message}` | refused without {' or '.join(dict.fromkeys(actions))} |")
    for compartment, messages in PROVISIONED.items():
        token = " with a token" if compartment == "keyring" else ""
        lines += [f"| {compartment} | `{name}`{token} | refused: `provision`, by a file |" for name in sorted(messages)]
    lines += [f"| {one.compartment} | `{one.message}` | as before: {one.why} |" for one in LOCAL_POWERS]
    lines += [f"| the host | | not refusable: {text} |" for text in NOT_REFUSABLE]
    return "\n".join(lines)


def _executors(row: OrderRow) -> str:
    if row.offline:
        return f"`{row.offline} --order FILE`, where no cell runs"
    if not row.effects:
        return "whoever has the order"
    texts = []
    for name in row.executors:
        effects = [effect for effect in row.effects if effect.executor == name]
        permitted = " permits" if effects[0].mode is Mode.PERMIT else ""
        texts.append(f"{name}{permitted} " + ", ".join(f"`{effect.message}`" for effect in effects))
    return "; ".join(texts)
