"""``python -m libs.runtime.migrations check SERVICE… | revision SERVICE -m MESSAGE | upgrade SERVICE URL``."""

import argparse
import asyncio
import sys

from libs.runtime import migrations


def main() -> int:
    """Run one command; exit code 1 when a check finds a difference."""
    parser = argparse.ArgumentParser(prog="python -m libs.runtime.migrations", description="Migrations of the services' databases.")
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="do the versions lead to the declared tables?")
    check.add_argument("services", nargs="+")
    revision = commands.add_parser("revision", help="write the next version")
    revision.add_argument("service")
    revision.add_argument("-m", "--message", required=True)
    upgrade = commands.add_parser("upgrade", help="bring a database to the newest version")
    upgrade.add_argument("service")
    upgrade.add_argument("url")
    arguments = parser.parse_args()
    try:
        match arguments.command:
            case "check":
                for service in arguments.services:
                    asyncio.run(migrations.check(service))
            case "revision":
                asyncio.run(migrations.revision(arguments.service, arguments.message))
            case "upgrade":
                asyncio.run(migrations.upgrade(arguments.service, arguments.url))
    except migrations.MigrationsBehind as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command's answer
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
