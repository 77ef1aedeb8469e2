"""Print the commands of every module in the given folders, as JSON."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

from mgr.argument.descriptor import Signature
from mgr.host.finder import ALL, find_modules


def declared(folders):
    """By module: the prefix of each command, its permission, whether it needs an argument."""
    catalogue = asyncio.run(find_modules(folders, skip=[ALL], limit_s=60))
    return {
        name: [
            {
                "prefix": signature.prefix,
                "perm": command.perm,
                "required": any(argument.required for argument in signature.arguments),
            }
            for command in found.commands
            for signature in [Signature.parse(command.signature_text)]
        ]
        for name, found in catalogue.items()
    }


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    sys.stdout.write(json.dumps(declared(sys.argv[1:])))
