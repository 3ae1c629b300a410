"""From a request to products: discovery, plan, keys, execution, store, records; and what is asked of them later."""
