"""The commands: what is typed becomes option records, and the library is called."""
