"""Looks at the console as a screen reader does: over AT-SPI, by role and name. A partner.

    {"find": text, "role": role?}   waits until something named so is shown; answers its name, role
    {"gone": text}                  waits until nothing is
    {"press": name}                 presses the button of that name
    {"all": true}                   every role and name, for people who read a failure

Arguments: the process id of the console. Names are compared by containing the text.
"""

import json
import sys
import time

import pyatspi

import clients

PATIENCE_S = 30
TOLD = clients.arguments()


def application():
    desktop = pyatspi.Registry.getDesktop(0)
    for at in range(desktop.childCount):
        found = desktop.getChildAtIndex(at)
        if found is not None and found.get_process_id() == TOLD["pid"]:
            return found
    return None


def nodes(node, depth=0):
    """Every node below, itself first. What vanishes while it is looked at is left out."""
    if node is None or depth > 40:
        return
    yield node
    try:
        children = [node.getChildAtIndex(at) for at in range(node.childCount)]
    except Exception:  # a node that went away between two questions
        return
    for child in children:
        yield from nodes(child, depth + 1)


def shown():
    """(role, name, node) of everything that has a name."""
    for node in nodes(application()):
        try:
            if node.name:
                yield node.getRoleName(), node.name, node
        except Exception:  # likewise
            continue


def wait(look):
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        found = look()
        if found is not None:
            return found
        # AT-SPI has events, but a program that listens to them slows the one it looks at.
        time.sleep(0.1)
    return {"problem": "not within patience", "shown": [list(pair[:2]) for pair in shown()][:80]}


def find(order):
    def look():
        for role, name, _ in shown():
            if order["find"] in name and order.get("role", role) == role:
                return {"role": role, "name": name}
        return None
    return wait(look)


def gone(order):
    def look():
        return None if any(order["gone"] in name for _, name, _ in shown()) else {"gone": True}
    return wait(look)


def press(order):
    def look():
        for _, name, node in shown():
            if order["press"] in name:
                try:
                    action = node.queryAction()
                except NotImplementedError:
                    continue
                if action.nActions and action.doAction(0):
                    return {"pressed": name}
        return None
    return wait(look)


def main():
    for line in sys.stdin:
        order = json.loads(line)
        if "find" in order:
            clients.result(find(order))
        elif "gone" in order:
            clients.result(gone(order))
        elif "press" in order:
            clients.result(press(order))
        else:
            clients.result({"shown": [list(pair[:2]) for pair in shown()]})


main()
