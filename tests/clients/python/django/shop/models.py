from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models


class Customer(models.Model):
    name = models.CharField(max_length=100, unique=True)
    since = models.DateTimeField(auto_now_add=True)


class Product(models.Model):
    name = models.TextField()
    price = models.DecimalField(max_digits=8, decimal_places=2)
    labels = ArrayField(models.CharField(max_length=20), default=list)
    facts = models.JSONField(default=dict)
    stock = models.PositiveIntegerField(default=0)

    class Meta:
        indexes = [GinIndex(fields=["facts"], name="facts_gin")]
        constraints = [models.CheckConstraint(check=models.Q(price__gte=0), name="price_not_negative")]


class Order(models.Model):
    customer = models.ForeignKey(Customer, models.CASCADE, related_name="orders")
    products = models.ManyToManyField(Product, through="Line")


class Line(models.Model):
    order = models.ForeignKey(Order, models.CASCADE)
    product = models.ForeignKey(Product, models.PROTECT)
    count = models.PositiveIntegerField(default=1)
