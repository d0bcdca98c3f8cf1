"""llama.cpp in a child process: the only place that imports the binding.

`client` is the parent's side and the Backend; `child` the loop in the other process; `weights`, `context` and
`writer` do the work there. The parent imports `client` alone, so a crash in native code is a sentence, not a
lost conversation.
"""
