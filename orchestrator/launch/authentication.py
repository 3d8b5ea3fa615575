"""Whether a Ray that was joined asks for tokens as this command does.

Ray joins one that asks for none with a token as well; but then its workers, which have none,
are not let in by the driver, and the first of them dies without a word about tokens.
"""

from typing import Final

from orchestrator.errors import InfeasibleError
from orchestrator.launch.environment import ADDRESS

_PROBE: Final = "/ray.rpc.NodeInfoGcsService/CheckAlive"
_ANSWER_S: Final = 10.0


def refuse_open_ray(address: str) -> None:
    """Refuse a Ray that asks for no token where this command would ask its workers for one.

    Args:
        address: Host and port of its first service, GCS.

    Raises:
        InfeasibleError: Says how to join it.
    """
    from ray._private.authentication.authentication_utils import is_token_auth_enabled

    if is_token_auth_enabled() and _answers_without_token(address):
        raise InfeasibleError(
            f"{ADDRESS}: the Ray at {address} asks for no token, and its workers could not "
            f"speak to this command, which asks for one; join it with RAY_AUTH_MODE=disabled"
        )


def _answers_without_token(address: str) -> bool:
    try:
        # Ray's own; it comes with ray[default] alone, which clusters have.
        import grpc
    except ImportError:
        return False
    with grpc.insecure_channel(address) as channel:
        try:
            channel.unary_unary(_PROBE)(b"", timeout=_ANSWER_S)
        except grpc.RpcError:
            # It wants a token, or does not tell: with TLS nobody is answered here.
            return False
    return True
