"""Start the server: `python inside/__main__.py DESCRIPTOR`. The modules beside it get the names they have outside."""

import os
import sys
import types

if __name__ == "__main__":
    for name in ("k15_plugins", "k15_plugins.sandbox", "k15_plugins.sandbox.inside"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["k15_plugins.sandbox.inside"].__path__ = [os.path.dirname(__file__)]

    from k15_plugins.sandbox.inside.server import main

    main()
