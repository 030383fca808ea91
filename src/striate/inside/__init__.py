"""Looking inside a net: its filters and maps, what moves an answer, what excites a channel, and any number traced."""
