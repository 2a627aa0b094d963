import threading
from decimal import Decimal

from django.contrib.auth.models import User
from django.contrib.postgres.search import SearchVector
from django.db import IntegrityError, connection, transaction
from django.db.models import F, ProtectedError, Sum
from django.test import TestCase, TransactionTestCase

from .models import Customer, Line, Order, Product


class Queries(TestCase):
    """Each test in a transaction that is rolled back, with what setUpTestData() made behind a savepoint."""

    @classmethod
    def setUpTestData(cls):
        cls.ada = Customer.objects.create(name="Ada")
        cls.milk, cls.eggs = Product.objects.bulk_create([
            Product(name="fresh milk", price="1.20", labels=["white", "cold"], facts={"fat": 3.5}, stock=10),
            Product(name="brown eggs", price="2.50", labels=["brown"], facts={"count": 6}, stock=5)])
        order = Order.objects.create(customer=cls.ada)
        Line.objects.create(order=order, product=cls.milk, count=2)
        Line.objects.create(order=order, product=cls.eggs)

    def test_the_test_database(self):
        with connection.cursor() as cursor:
            cursor.execute("select current_database(), ssl from pg_stat_ssl where pid = pg_backend_pid()")
            name, tls = cursor.fetchone()
        self.assertRegex(name, "^test_app(_[12])?$")
        self.assertTrue(tls)

    def test_joins_and_sums(self):
        total = Line.objects.filter(order__customer=self.ada).aggregate(sum=Sum(F("count") * F("product__price")))
        self.assertEqual(total["sum"], Decimal("4.90"))
        with self.assertNumQueries(3):
            orders = list(Order.objects.prefetch_related("products", "line_set"))
            self.assertEqual([p.name for p in orders[0].products.all()], ["fresh milk", "brown eggs"])

    def test_arrays_json_search(self):
        self.assertEqual(Product.objects.get(labels__contains=["cold"]), self.milk)
        self.assertEqual(Product.objects.get(facts__count__gt=5), self.eggs)
        self.assertEqual(Product.objects.annotate(s=SearchVector("name", config="english")).get(s="egg"), self.eggs)

    def test_errors_inside_a_transaction(self):
        with self.assertRaises(IntegrityError), transaction.atomic():
            Product.objects.create(name="debt", price=-1)
        with self.assertRaises(IntegrityError), transaction.atomic():
            Customer.objects.create(name="Ada")
        with self.assertRaises(ProtectedError):
            self.milk.delete()
        self.assertEqual(Product.objects.count(), 2)

    def test_deletes_are_rolled_back_between_tests(self):
        self.ada.delete()
        self.assertEqual(Line.objects.count(), 0)

    def test_users(self):
        User.objects.create_user("ada", password="x")
        self.assertTrue(User.objects.get(username="ada").check_password("x"))


class Threads(TransactionTestCase):
    """Really committed, from several connections; the tables are truncated afterwards."""

    def test_for_update(self):
        milk = Product.objects.create(name="milk", price=1, stock=20)
        wrong = []

        def buy():
            try:
                with transaction.atomic():
                    p = Product.objects.select_for_update().get(pk=milk.pk)
                    p.stock -= 1
                    p.save()
            except Exception as e:
                wrong.append(e)
            finally:
                connection.close()

        threads = [threading.Thread(target=buy) for _ in range(20)]
        [t.start() for t in threads]
        [t.join() for t in threads]
        milk.refresh_from_db()
        self.assertEqual((wrong, milk.stock), ([], 0))

    def test_stream(self):
        Product.objects.bulk_create([Product(name=str(i), price=i) for i in range(5000)], batch_size=500)
        self.assertEqual(sum(p.price for p in Product.objects.iterator(chunk_size=1000)), sum(range(5000)))
