"""The weights of networks: where they lie, how they are fetched and converted, what was trained here.

`store` finds and loads them, `fetch` downloads them, `convert` reads the formats of other frameworks, and
`checkpoints` holds networks trained by jtrack with a head of their own.
"""
