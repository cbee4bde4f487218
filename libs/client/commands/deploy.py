"""`inkctl deploy`: models behind an address."""

from typing import Annotated

import typer

from inkwright.inference.v1 import deployment_pb2
from libs.client.inkwright import Inkwright
from libs.client.output import Exit, console, fail, print_fields, print_json, print_table, progress_bar, short
from libs.client.session import JsonOption, inkwright, refusals_exit

app = typer.Typer(help="Models behind an address.", no_args_is_help=True)

Deployment = deployment_pb2.Deployment
InstanceState = deployment_pb2.Instance.State
SETTLED = (Deployment.RUNNING, Deployment.STOPPED, Deployment.FAILED)
Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the deployment.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it is there.")]


@app.command()
@refusals_exit
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="1 to 30 letters, digits, `_`, `-`; starts with a letter or digit.")],
    model: Annotated[str, typer.Option(help="Model to deploy.")],
    instances: Annotated[int, typer.Option(help="Number of instances.")] = 1,
    resource: Annotated[str, typer.Option(help="Resource type of the catalogue.")] = "cpu-1",
    quota: Annotated[
        str, typer.Option(help="What each instance may use, e.g. cores=1,memory_mb=1024,gpus=0; default: the resource type's.")
    ] = "",
    wait: Wait = True,
    as_json: JsonOption = False,
) -> None:
    """Put a model behind an address."""
    client = inkwright(context)
    wanted = Deployment(model=model, num_instances=instances, resource_type=resource, quota=parse_quota(quota))
    client.create_deployment(name, wanted)
    settle(client, name, as_json, wait=wait)


@app.command("list")
@refusals_exit
def list_all(context: typer.Context, as_json: JsonOption = False) -> None:
    """List deployments, newest first."""
    deployments = inkwright(context).list_deployments()
    if as_json:
        print_json(deployments)
        return
    rows = []
    for deployment in deployments:
        ready = sum(instance.state == InstanceState.READY for instance in deployment.instances)
        state = Deployment.State.Name(deployment.state)
        rows.append(
            (
                short(deployment.name),
                state,
                f"{ready}/{deployment.num_instances}",
                short(deployment.model),
                deployment.predict_path,
                deployment.message,
            )
        )
    print_table(("NAME", "STATE", "READY", "MODEL", "PATH", "MESSAGE"), rows)


@app.command()
@refusals_exit
def get(context: typer.Context, name: Name, as_json: JsonOption = False) -> None:
    """Show a deployment and its instances."""
    client = inkwright(context)
    show(client, client.get_deployment(name), as_json)


@app.command()
@refusals_exit
def scale(
    context: typer.Context,
    name: Name,
    instances: Annotated[int, typer.Option(help="Number of instances.")],
    wait: Wait = True,
    as_json: JsonOption = False,
) -> None:
    """Change the number of instances."""
    client = inkwright(context)
    client.scale_deployment(name, instances)
    settle(client, name, as_json, wait=wait)


@app.command()
@refusals_exit
def stop(context: typer.Context, name: Name, wait: Wait = True, as_json: JsonOption = False) -> None:
    """Stop all instances; the address answers 2002 until it is started again."""
    client = inkwright(context)
    client.stop_deployment(name)
    settle(client, name, as_json, wait=wait)


@app.command()
@refusals_exit
def start(context: typer.Context, name: Name, wait: Wait = True, as_json: JsonOption = False) -> None:
    """Start the instances again."""
    client = inkwright(context)
    client.start_deployment(name)
    settle(client, name, as_json, wait=wait)


@app.command()
@refusals_exit
def delete(context: typer.Context, name: Name) -> None:
    """Stop a deployment and forget it."""
    inkwright(context).delete_deployment(name)
    console.print(f"deleting {name}", markup=False)


@app.command()
@refusals_exit
def token(context: typer.Context, name: Name) -> None:
    """Reveal the token that callers of the public API send."""
    console.print(inkwright(context).reveal_token(name), markup=False, soft_wrap=True)


def parse_quota(text: str) -> deployment_pb2.Quota:
    """Read ``cores=1,memory_mb=1024,gpus=0``.

    Raises:
        SystemExit: a word or number nobody knows.
    """
    quota = deployment_pb2.Quota()
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            match name.strip():
                case "cores":
                    quota.cores = float(value)
                case "memory_mb":
                    quota.memory_mb = int(value)
                case "gpus":
                    quota.gpus = int(value)
                case other:
                    fail(f"--quota knows cores, memory_mb and gpus, not {other!r}", Exit.USAGE)
        except ValueError:
            fail(f"--quota {name}: {value!r} is no number", Exit.USAGE)
    return quota


def settle(client: Inkwright, name: str, as_json: bool, *, wait: bool) -> None:
    """Show a deployment, after it has come to rest when asked to wait.

    Raises:
        SystemExit: it failed.
    """
    deployment = client.get_deployment(name)
    if wait:
        with progress_bar(known=False) as bar:
            line = bar.add_task(f"deployment {name}", total=None)
            for deployment in client.watch(lambda: client.get_deployment(name), until=settled):
                bar.update(line, description=f"{name}: {deployment.message or deployment.reason}")
    show(client, deployment, as_json)
    if deployment.state == Deployment.FAILED:
        fail(f"{name} failed: {deployment.message}", Exit.ENDED_OTHERWISE, reason=deployment.reason)


def settled(deployment: deployment_pb2.Deployment) -> bool:
    """Whether nothing is under way any more; a stopped deployment's last instances may still be finishing their requests."""
    return deployment.state in SETTLED and not (deployment.state == Deployment.STOPPED and deployment.instances)


def show(client: Inkwright, deployment: deployment_pb2.Deployment, as_json: bool) -> None:
    """Print one deployment."""
    if as_json:
        print_json(deployment)
        return
    quota = deployment.quota
    print_fields(
        [
            ("name", short(deployment.name)),
            ("state", Deployment.State.Name(deployment.state)),
            ("reason", deployment.reason),
            ("message", deployment.message),
            ("model", short(deployment.model)),
            ("bundle digest", deployment.bundle_digest),
            ("resource type", deployment.resource_type),
            ("quota", f"{quota.cores:g} cores, {quota.memory_mb} MB, {quota.gpus} GPUs an instance"),
            ("instances", deployment.num_instances),
            ("address", client.rest.url + deployment.predict_path),
        ]
    )
    if deployment.instances:
        console.print()
        rows = [(row.instance_id, InstanceState.Name(row.state), row.endpoint, row.engine, row.last_error) for row in deployment.instances]
        print_table(("INSTANCE", "STATE", "ENDPOINT", "ENGINE", "LAST ERROR"), rows)
