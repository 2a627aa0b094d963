pytest_plugins = ["calf.pytest_plugin"]
