"""`share`, `revoke` and the other verbs of tokens for others."""

from __future__ import annotations

import argparse

from workbench.cli.chosen_service import Verb, add_nothing, print_answer, say, service


def _add_share(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", metavar="NAME", nargs="+", help="the models that it may call")
    parser.add_argument("--with", dest="label", metavar="LABEL", required=True, help="whom it is for")
    parser.add_argument("--rate", help="the most requests it may send: 20/s, 600/min (no limit)")
    parser.add_argument("--row-rate", metavar="RATE", help="the most rows in them: 2000/s (no limit)")
    parser.add_argument("--quota", metavar="N", help="the most requests of a UTC day: 10000 (no limit)")
    parser.add_argument("--row-quota", metavar="N", help="the most rows in them (no limit)")
    parser.add_argument("--version", metavar="V", help="the only version that it calls (the one that serves)")
    parser.add_argument("--max-body", metavar="SIZE", help="the largest body: 1MB, 64KiB (the service's cap)")
    parser.add_argument("--metrics", action="store_true", help="it may read the metrics of its models")
    parser.add_argument("--expires", default="7d", metavar="TIME", help="how long it holds: 7d, 12h, 30min (7d)")
    parser.add_argument("--max-in-flight", type=int, metavar="N", help="its requests under way at once (16)")
    parser.add_argument(
        "--as-env", metavar="FILE", help="a new file for INFER_URL and INFER_TOKEN that only you can read"
    )
    parser.add_argument("--show-token", action="store_true", help="print the token in place of a link")
    parser.add_argument("--host", help="open a port for shares there first, such as 0.0.0.0")
    parser.add_argument("--port", type=int, help="of --host, for HTTP (a free one)")
    parser.add_argument("--grpc-port", type=int, help="of --host, for gRPC (a free one)")
    parser.add_argument(
        "--tls", choices=("off", "self-signed"), help="with a certificate that the service makes itself"
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="PEM: with TLS there, with this certificate")
    parser.add_argument("--tls-key", metavar="FILE", help="PEM: the certificate's private key")
    parser.add_argument("--insecure", action="store_true", help="without TLS there, where something else encrypts")


def _share(arguments: argparse.Namespace) -> int:
    from workbench.client.port_for_share import port_for_share

    workbench = service(arguments)
    with port_for_share(
        workbench,
        arguments.host,
        port=arguments.port,
        grpc_port=arguments.grpc_port,
        tls=arguments.tls,
        tls_cert=arguments.tls_cert,
        tls_key=arguments.tls_key,
        insecure=arguments.insecure,
    ) as opened:
        share = workbench.share(
            arguments.names,
            arguments.label,
            arguments.rate,
            arguments.expires,
            row_rate=arguments.row_rate,
            quota=arguments.quota,
            row_quota=arguments.row_quota,
            version=arguments.version,
            max_body=arguments.max_body,
            metrics=arguments.metrics,
            max_in_flight=arguments.max_in_flight,
            show_token=arguments.show_token,
            as_env=arguments.as_env,
        )
    if opened is not None:
        print_answer(opened)
    print_answer(share)
    return say(share.token) if arguments.show_token else 0


def _shares(arguments: argparse.Namespace) -> int:
    return say(service(arguments).shares())


def _add_revoke(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("share", metavar="SHARE", help="its label or id")


def _revoke(arguments: argparse.Namespace) -> int:
    service(arguments).revoke(arguments.share)
    return say(f"the share {arguments.share} has ended; its next call is refused")


def _add_port(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--close", action="store_true", help="close it for good")


def _port(arguments: argparse.Namespace) -> int:
    workbench = service(arguments)
    if not arguments.close:
        return say(workbench.port())
    workbench.close_port()
    return say("the port for shares is closed")


SHARE_VERBS: dict[str, Verb] = {
    "share": ("give somebody else a token for models, by a link", _add_share, _share),
    "shares": ("list the shares and their use", add_nothing, _shares),
    "revoke": ("end a share", _add_revoke, _revoke),
    "port": ("say which port shares are called on, or close it", _add_port, _port),
}
