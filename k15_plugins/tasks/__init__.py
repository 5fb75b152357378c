"""Problems to learn from: reasoning-gym tasks, JSONL files and Hub datasets.

A problem is a row with `prompt`, `answer`, `level` (0 = easiest) and `task`; rows from reasoning-gym also have
`entry`, what their scorer needs. The loaders live in `tasks.reasoning_gym` and `tasks.files` and are imported from
there, because they load `datasets` and `reasoning_gym`.
"""
