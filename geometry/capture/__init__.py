"""A person's photos on their way to a network: opened, chosen, given cameras, prepared."""
