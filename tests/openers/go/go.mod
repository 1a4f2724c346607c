// Go's own HPKE, for tests of what is sealed; nothing but its standard library.
module daypass.dev/tests/openers/go

go 1.26.0
