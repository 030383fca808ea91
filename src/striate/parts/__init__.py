"""Answers for more pictures than fit one table or one sitting: parts, each written whole, by several processes."""
