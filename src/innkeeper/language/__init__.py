"""Messages in the language of whoever reads them.

Everything is written in English where it is said, as a plain string or an f-string; what reaches a person passes `translate`, which finds the template
that the words were made of and has gettext's catalogue say the same in the language of the locale. Data (tables' cells that are names,
XML, JSON) does not pass here.
"""

from innkeeper.language.catalogue import Catalogue, chosen, translate

__all__ = ["Catalogue", "chosen", "translate"]
