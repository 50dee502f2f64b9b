"""What has other names in older versions of JAX."""


def enable_x64(enabled=True):
    """Let JAX have float64, or not."""
    import jax

    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(enabled)
    from jax.experimental import disable_x64
    from jax.experimental import enable_x64 as enable

    return enable() if enabled else disable_x64()
