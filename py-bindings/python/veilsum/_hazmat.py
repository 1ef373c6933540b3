"""Sharp tools: C2SP's raw bytes, without veilsum's header, for interoperation with other implementations."""

from ._core import cobblestone256_decrypt, cobblestone256_encrypt

__all__ = ["cobblestone256_decrypt", "cobblestone256_encrypt"]
