"""The consortium's data dictionary: what a raw record is, what a feature means, and how sensitive each is.

Beside this module: records.toml (kinds of raw record, which every institution maps its own tables to), and one file of features for each role
or kind of source. `docs/dictionary/` is generated from them. An entry that lacks a field, or has one that nobody reads, is refused when loaded.

    [[record]]            a kind of raw record: name role title definition key date; then its columns
    [[record.column]]     name type definition required level class values unit
    [[feature]]           name role source definition formula unit period level class range direction comparable kind
    [[source]]            a source of dated records: name role title definition; then its kinds and features
    [[source.kind]]       name definition also statuses open
    [[source.feature]]    name definition formula unit level direction class range comparable

A source of dated records (court, business registry, ...) is such a file and nothing else: its role is known everywhere once the file is here,
and one adapter (`clients/roles/records`) computes its features by their formulas.

Read entries (what an entry is, and how it is read), then formula (what a source's features may be).
"""

VERSION = "1.0"
"""Raised when an entry changes its meaning; manifests and feature tables name the version that they were made with."""
