"""One call, from the arguments of a public function to its result."""
