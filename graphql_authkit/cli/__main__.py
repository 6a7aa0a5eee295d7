"""`python -m graphql_authkit.cli`."""

import sys

from . import main

sys.exit(main())
