"""What machines use, second by second: figures become rates, and rates become a table or a screen of the terminal."""
