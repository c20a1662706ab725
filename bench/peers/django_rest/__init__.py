"""Django REST framework on Django's ORM, with unmanaged models."""
