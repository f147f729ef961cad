"""An institution's own rules, in Cedar: who may ask for what, on which columns, for which purpose, and what may leave.

Read `schema.cedarschema` (the words), then `default/*.cedar` (the rules that an institution begins with, to be read by people who do not
program), `ask` (the four kinds of question), `decide` (files of rules -> yes or no, and by which rule) and `explain` (why not, and what would
change it). `cases` are questions with their expected answers: the shipped ones, `default/cases.toml`, document every default rule.

Nothing is allowed but by a rule that permits it; a rule that forbids wins over any that permits; a rule that cannot be evaluated refuses.
"""
