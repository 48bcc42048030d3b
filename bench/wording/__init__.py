"""Every sentence that states a result, in one place, so that each can be read and tested."""
